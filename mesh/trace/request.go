package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// Limits of a Request.
const (
	MaxSample  = 100       // messages
	MaxEvery   = 1_000_000 // messages
	MaxRequest = 4 << 10   // bytes, as JSON
	maxTimeout = time.Minute

	defaultTimeout = 3 * time.Second
	sampleTimeout  = 15 * time.Second
)

// Request says what to trace: To or Channel.
type Request struct {
	To      string  `json:"to,omitempty"`        // name or ID of a node
	Tenant  string  `json:"tenant,omitempty"`    // of the channel; default channel.DefaultTenant
	Channel string  `json:"channel,omitempty"`   // to all nodes with subscribers of it; a pattern, to sample
	Sample  int     `json:"sample,omitempty"`    // trace so many of the messages that clients publish at this node, in place of one made for it
	Every   int     `json:"every,omitempty"`     // one in so many of these; default all
	Timeout float64 `json:"timeout_s,omitempty"` // seconds until what has come by then is the answer; default 3, to sample 15
}

// ParseRequest reads a Request from JSON and fills its defaults in. Errors are fs.ErrInvalid, or those of package channel.
func ParseRequest(b []byte) (Request, error) {
	var r Request
	if len(b) > MaxRequest {
		return r, fmt.Errorf("%w request: %d bytes, at most %d", fs.ErrInvalid, len(b), MaxRequest)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("%w request: %s", fs.ErrInvalid, strings.TrimPrefix(err.Error(), "json: "))
	}
	if d.More() {
		return r, fmt.Errorf("%w request: something follows the object", fs.ErrInvalid)
	}
	return r.normal()
}

// normal is the request with its defaults filled in, or what is wrong with it.
func (r Request) normal() (Request, error) {
	refuse := func(text string) (Request, error) { return r, fmt.Errorf("%w request: %s", fs.ErrInvalid, text) }
	switch {
	case (r.To == "") == (r.Channel == ""):
		return refuse("give either to, a node, or channel")
	case r.To != "" && (r.Sample != 0 || r.Tenant != ""):
		return refuse("sample and tenant go with channel")
	case r.Sample < 0 || r.Sample > MaxSample:
		return refuse(fmt.Sprintf("sample is 1 to %d", MaxSample))
	case r.Every < 0 || r.Every > MaxEvery || r.Every > 0 && r.Sample == 0:
		return refuse(fmt.Sprintf("every is 1 to %d, and goes with sample", MaxEvery))
	case !(r.Timeout >= 0 && r.Timeout <= maxTimeout.Seconds()):
		return refuse(fmt.Sprintf("timeout_s is at most %v", maxTimeout.Seconds()))
	}
	timeout := defaultTimeout
	if r.Sample > 0 {
		r.Every, timeout = max(r.Every, 1), sampleTimeout
	}
	if r.Timeout == 0 {
		r.Timeout = timeout.Seconds()
	}
	if r.To != "" {
		return r, nil
	}
	tenant, err := channel.NormalizeTenant(r.Tenant)
	r.Tenant = tenant
	if r.Sample > 0 {
		_, patternErr := channel.ParsePattern(r.Channel)
		return r, errors.Join(err, patternErr)
	}
	return r, errors.Join(err, channel.ValidateChannel(r.Channel))
}

// Wait is Timeout as a duration.
func (r Request) Wait() time.Duration { return time.Duration(r.Timeout * float64(time.Second)) }
