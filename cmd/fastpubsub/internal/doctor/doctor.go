package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trust"
)

// Verdict is how bad a finding is.
type Verdict string

// The verdicts.
const (
	OK   Verdict = "ok"
	Skip Verdict = "skip" // could not be looked at
	Warn Verdict = "warn" // a node works, but not as well as it could
	Fail Verdict = "FAIL" // a node does not start, or is not linked
)

// Finding is one thing that was looked at.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	What    string  `json:"what"`
	Detail  string  `json:"detail"`
	Do      string  `json:"do,omitempty"` // what to do about it
}

// Config is the node to be, as its options say.
type Config struct {
	Listen, Advertise string   // as of mesh.Config; Listen is required
	TCP               bool     // whether near nodes may use TCP
	Seeds             []string // host:port
	Trust             *trust.Credentials
	WS                string // where clients are to be served
	Client            string // where clients are told to connect, if that differs
	TLSCert, TLSKey   string // files for clients; empty: none
	Connections       int    // of clients, at most
	DataDir           string
	Wait              time.Duration    // for an answer of a peer; default 3 s
	Now               func() time.Time // default time.Now
}

const (
	defaultWait = 3 * time.Second
	soonOver    = 14 * 24 * time.Hour // a certificate that ends within is told of
	seedsMost   = 16                  // that are looked at
	addrsMost   = 4                   // of one seed
)

// visit is one look at everything.
type visit struct {
	cfg  Config
	tell func(Finding)
}

// Run looks at everything in turn and tells what it finds. It returns early only if ctx ends.
func Run(ctx context.Context, cfg Config, tell func(Finding)) error {
	if cfg.Wait == 0 {
		cfg.Wait = defaultWait
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v := &visit{cfg: cfg, tell: tell}
	v.files()
	v.descriptors()
	v.clientPort(ctx)
	port := v.nodePort(ctx)
	if port == nil {
		return ctx.Err()
	}
	defer port.close()
	v.buffers(port)
	if len(cfg.Seeds) == 0 {
		v.add(Skip, "seeds", "none given: no other node was asked", "--join HOST:PORT of a live node")
	}
	for i, seed := range cfg.Seeds {
		if i == seedsMost || ctx.Err() != nil {
			break
		}
		v.seed(ctx, port, seed)
	}
	return ctx.Err()
}

// add tells a finding.
func (v *visit) add(verdict Verdict, what, detail, do string) {
	v.tell(Finding{verdict, printable(what), printable(detail), printable(do)})
}

// Print writes a finding as a line.
func Print(out io.Writer, f Finding) error {
	_, err := fmt.Fprintf(out, "%-4s  %-12s  %s", f.Verdict, f.What, f.Detail)
	if err == nil && f.Do != "" {
		_, err = fmt.Fprintf(out, "  =>  %s", f.Do)
	}
	if err == nil {
		_, err = fmt.Fprintln(out)
	}
	return err
}

// Write writes all findings as JSON.
func Write(out io.Writer, all []Finding) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Findings []Finding `json:"findings"`
		Failed   int       `json:"failed"`
	}{all, Failures(all)})
}

// Failures counts what is a Fail.
func Failures(all []Finding) (n int) {
	for _, f := range all {
		if f.Verdict == Fail {
			n++
		}
	}
	return n
}
