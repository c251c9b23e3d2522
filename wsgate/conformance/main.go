// Command conformance tests any server of the protocol llps.v1, by package suite, and prints what became of each case:
//
//	go run ./wsgate/conformance --url ws://localhost:8080/ws [--token AT_… --tenant t] [--master MT_…] [--json]
//
// It exits with 1 if a case failed, and with 2 if there was nothing to test.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate/conformance/suite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // the process ends, and the signals with it
}

// options are what is asked for on the command line.
type options struct {
	target suite.Target
	only   *regexp.Regexp
	json   bool
	list   bool
}

// run is main without the process.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	o, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var results []suite.Result
	if err == nil && !o.list {
		results, err = suite.Run(ctx, o.target, o.only.MatchString)
	}
	if err == nil && o.list {
		err = list(out, o)
	} else if len(results) > 0 {
		err = errors.Join(err, show(out, o, results))
	}
	switch {
	case err != nil:
		fmt.Fprintln(errs, err)
		return 2
	case slices.ContainsFunc(results, func(r suite.Result) bool { return r.Outcome == suite.Fail }):
		return 1
	default:
		return 0
	}
}

func parse(args []string, errs io.Writer) (options, error) {
	var o options
	var only string
	var insecure bool
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&o.target.URL, "url", "ws://localhost:8080/ws", "the WebSocket endpoint to test")
	flags.StringVar(&o.target.Bootstrap, "bootstrap", "", "the page that lists nodes (default /v1/bootstrap of the same host)")
	flags.StringVar(&o.target.Token, "token", "", "a client's token that allows everything in --tenant")
	flags.StringVar(&o.target.Tenant, "tenant", "", "where --token is good")
	flags.StringVar(&o.target.Master, "master", "", "a master token: all cases are run, with tokens made for them")
	flags.DurationVar(&o.target.Wait, "wait", 5*time.Second, "how long to wait for an answer")
	flags.StringVar(&only, "only", "", "run only cases whose names match this regular expression")
	flags.BoolVar(&insecure, "insecure", false, "do not check the certificate of wss")
	flags.BoolVar(&o.json, "json", false, "print the results as a JSON list")
	flags.BoolVar(&o.list, "list", false, "print the cases and run none")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("conformance: unknown argument %q", flags.Arg(0))
	}
	if insecure {
		o.target.TLS = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as asked
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("conformance: --only: %w", err)
	}
	return o, nil
}

// list prints the cases.
func list(out io.Writer, o options) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, c := range suite.Cases() {
		if o.only.MatchString(c.Name) {
			fmt.Fprintf(table, "%s\t[%s]\t%s\n", c.Name, c.Mark, c.Says)
		}
	}
	return table.Flush()
}

// show prints the results.
func show(out io.Writer, o options, results []suite.Result) error {
	if o.json {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", " ")
		return encoder.Encode(results)
	}
	counts := map[suite.Outcome]int{}
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, r := range results {
		counts[r.Outcome]++
		fmt.Fprintf(table, "%s\t%s\t[%s]\t", r.Outcome, r.Name, r.Mark)
		switch r.Outcome {
		case suite.Fail:
			fmt.Fprintf(table, "%s; it should be so: %s\n", r.Reason, r.Says)
		case suite.Skipped:
			fmt.Fprintln(table, r.Reason)
		default:
			fmt.Fprintln(table, r.Says)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d passed, %d failed, %d skipped\n", counts[suite.Pass], counts[suite.Fail], counts[suite.Skipped])
	return err
}
