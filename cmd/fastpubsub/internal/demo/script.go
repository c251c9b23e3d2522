package demo

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrScript reports a script that is not valid.
var ErrScript = errors.New("demo: invalid script")

// Limits of scripts.
const (
	scriptBytes = 64 << 10
	scriptSteps = 1000
	lastStep    = 24 * time.Hour
	mostExtra   = 10 * time.Second
)

// action is what a step does.
type action string

const (
	slow  action = "slow"  // adds a delay to the path between two metros
	block action = "block" // blocks it
	kill  action = "kill"  // stops a node without a goodbye
	heal  action = "heal"  // undoes all faults and starts killed nodes again
)

// metros is how many metros an action names.
func (a action) metros() (n int, known bool) {
	switch a {
	case slow, block:
		return 2, true
	case kill:
		return 1, true
	case heal:
		return 0, true
	default:
		return 0, false
	}
}

// step is one line of a script.
type step struct {
	at     time.Duration // since the start
	do     action
	metros []string
	extra  time.Duration // of slow
}

// String is the step as parseScript reads it.
func (s step) String() string { return s.at.String() + " " + s.what() }

// lead is how long before its time the step has to be announced.
func (s step) lead() time.Duration {
	if s.do == heal {
		return 0
	}
	return faultLead
}

// what is the step without its time.
func (s step) what() string {
	words := append([]string{string(s.do)}, s.metros...)
	if s.do == slow {
		words = append(words, s.extra.String())
	}
	return strings.Join(words, " ")
}

// Script is faults at times.
type Script struct{ steps []step }

// String is the script as ParseScript reads it.
func (s Script) String() string {
	lines := make([]string, 0, len(s.steps))
	for _, step := range s.steps {
		lines = append(lines, step.String())
	}
	return strings.Join(lines, "; ")
}

// ParseScript reads a script: steps separated by ";" or ends of lines, in any order; from "#" to the end of its line is comment.
//
//	10s slow Tokyo London 80ms
//	20s block Paris Toronto
//	30s kill Dubai
//	40s heal
//
// Times are since the start of the demo. Whether the metros exist is seen when the script meets a cluster. Errors wrap ErrScript.
func ParseScript(text string) (Script, error) {
	var s Script
	if len(text) > scriptBytes {
		return s, fmt.Errorf("%w: more than %d bytes", ErrScript, scriptBytes)
	}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for part := range strings.SplitSeq(line, ";") {
			words := strings.Fields(part)
			if len(words) == 0 {
				continue
			}
			step, err := parseStep(words)
			if err != nil {
				return Script{}, fmt.Errorf("%w: %.80q: %w", ErrScript, strings.TrimSpace(part), err)
			}
			if len(s.steps) == scriptSteps {
				return Script{}, fmt.Errorf("%w: more than %d steps", ErrScript, scriptSteps)
			}
			s.steps = append(s.steps, step)
		}
	}
	s.sort()
	return s, nil
}

// Join adds the steps of another script.
func (s Script) Join(other Script) Script {
	joined := Script{slices.Concat(s.steps, other.steps)}
	joined.sort()
	return joined
}

// sort puts the steps in order; those at the same time stay as they were written.
func (s Script) sort() {
	slices.SortStableFunc(s.steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
}

func parseStep(words []string) (step, error) {
	at, err := parseTime(words[0], 0, lastStep)
	if err != nil {
		return step{}, err
	}
	if len(words) == 1 {
		return step{}, errors.New("want TIME ACTION")
	}
	s := step{at: at, do: action(words[1])}
	n, known := s.do.metros()
	if !known {
		return step{}, fmt.Errorf("no action %q; there are slow, block, kill and heal", words[1])
	}
	rest := words[2:]
	if s.do == slow && len(rest) == n+1 {
		if s.extra, err = parseTime(rest[n], 1, mostExtra); err != nil {
			return step{}, err
		}
		rest = rest[:n]
	} else if s.do == slow || len(rest) != n {
		return step{}, fmt.Errorf("want TIME %s", s.do.usage())
	}
	if n > 0 {
		s.metros = slices.Clone(rest)
	}
	if n == 2 && strings.EqualFold(rest[0], rest[1]) {
		return step{}, errors.New("a metro has no link to itself")
	}
	return s, nil
}

// usage is an action with its operands.
func (a action) usage() string {
	switch a {
	case slow:
		return "slow METRO METRO EXTRA"
	case block:
		return "block METRO METRO"
	case kill:
		return "kill METRO"
	default:
		return string(a)
	}
}

func parseTime(word string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(word)
	if err != nil || d < low || d > high {
		return 0, fmt.Errorf("%.40q is not a time from %v to %v, such as 1m30s or 80ms", word, low, high)
	}
	return d, nil
}

// check replaces the names of metros, in whatever case, by those of the cluster. The first that is not in it is an error.
func (s Script) check(metros []string) (Script, error) {
	checked := Script{slices.Clone(s.steps)}
	for i := range checked.steps {
		step := &checked.steps[i]
		step.metros = slices.Clone(step.metros)
		for j, name := range step.metros {
			at := slices.IndexFunc(metros, func(m string) bool { return strings.EqualFold(m, name) })
			if at < 0 {
				return Script{}, fmt.Errorf("%w: %q: %s is not in the cluster of %s", ErrScript, step, name, strings.Join(metros, ", "))
			}
			step.metros[j] = metros[at]
		}
	}
	return checked, nil
}
