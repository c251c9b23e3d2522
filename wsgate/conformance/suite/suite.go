package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Target is the server to test.
type Target struct {
	URL       string      // of its WebSocket endpoint, such as ws://localhost:8080/ws; required
	Bootstrap string      // of the page that lists nodes; empty means /v1/bootstrap of the same host
	Token     string      // a client's token; empty means none
	Tenant    string      // where Token allows everything; required with Token and without Master
	Master    string      // a master token; empty leaves cases out
	TLS       *tls.Config // for wss; nil means the defaults

	// DialContext makes connections; nil means a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	Wait time.Duration // for an answer; 0 means 5 s
}

// Case is a line of the contract.
type Case struct {
	Name string // such as 3.sub.duplicate-answers-ok
	Mark string // S, T, D or I; two with a slash between them
	Says string // the line in a sentence

	needs needs
	run   func(ctx context.Context, t *trial)
}

// needs is what a case cannot do without.
type needs uint8

const (
	needTenants needs = 1 << iota // rights in any tenant
	needToken
	needMaster
)

// Section is the part of the contract.
func (c Case) Section() string { return c.Name[:strings.IndexByte(c.Name, '.')] }

// Outcome is how a case ended.
type Outcome string

// The outcomes.
const (
	Pass    Outcome = "pass"
	Fail    Outcome = "FAIL"
	Skipped Outcome = "skipped"
)

// Result is what became of a case.
type Result struct {
	Name    string        `json:"name"`
	Section string        `json:"section"`
	Mark    string        `json:"mark"`
	Says    string        `json:"says"`
	Outcome Outcome       `json:"outcome"`
	Reason  string        `json:"reason,omitempty"` // why it failed or was skipped
	Took    time.Duration `json:"took_ns"`
}

// Cases are all cases, by section.
func Cases() []Case {
	return slices.Concat(
		discoveryCases(), handshakeCases(), tokenHandshakeCases(), lineCases(), jsonCases(), frameCases(), badFrameCases(),
		deliveryCases(), oneCases(), nameCases(), matchCases(), limitCases(), overlapCases(), tokenCases(), revocationCases(), rightCases(), helperCases(),
	)
}

// Run runs the cases whose names match accepts, or all if it is nil. The error is one of the Target, or that ctx ended.
func Run(ctx context.Context, target Target, accepts func(name string) bool) ([]Result, error) {
	base, err := target.complete()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: target.DialContext, TLSClientConfig: target.TLS, DisableKeepAlives: true}
	web := &http.Client{
		Transport: transport, Timeout: target.Wait,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var results []Result
	for _, c := range Cases() {
		if accepts != nil && !accepts(c.Name) {
			continue
		}
		if ctx.Err() != nil {
			return results, fmt.Errorf("suite: %w", ctx.Err())
		}
		start := time.Now()
		t := &trial{target: target, base: base, web: web, tenant: target.Tenant}
		outcome, reason := t.carryOut(ctx, c)
		results = append(results, Result{c.Name, c.Section(), c.Mark, c.Says, outcome, reason, time.Since(start)})
	}
	return results, nil
}

// complete checks a target, puts the defaults in, and returns the base address of its pages.
func (t *Target) complete() (base string, err error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return "", fmt.Errorf("suite: %w", err)
	}
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "":
		return "", fmt.Errorf("suite: %q is no ws or wss URL", t.URL)
	case t.Token != "" && t.Tenant == "" && t.Master == "":
		return "", errors.New("suite: a token without the tenant that it is good for")
	}
	if t.Wait <= 0 {
		t.Wait = 5 * time.Second
	}
	if t.DialContext == nil {
		t.DialContext = new(net.Dialer).DialContext
	}
	if t.Master != "" {
		t.Token, t.Tenant = "", "" // each case has its own
	}
	base = "http" + strings.TrimPrefix(u.Scheme, "ws") + "://" + u.Host
	if t.Bootstrap == "" {
		t.Bootstrap = base + "/v1/bootstrap"
	}
	return base, nil
}
