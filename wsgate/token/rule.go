package token

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// Limits of a rule. Fewer alternatives than there are word bytes (66) is what makes the subset test exact: see covers.
const (
	MaxRuleLen      = 512 // bytes
	MaxAlternatives = 32  // of a segment
)

// reservedPrefix starts the names of channels that the mesh itself publishes on.
const reservedPrefix = "$"

// ErrRule reports a text that is no rule of the kind asked for.
var ErrRule = errors.New("token: invalid rule")

// PublishRule says which channels may be published to. The zero PublishRule allows none.
type PublishRule struct{ rule rule }

// SubscribeRule says which patterns may be subscribed. The zero SubscribeRule allows none.
type SubscribeRule struct{ rule rule }

// ParsePublishRule reads a rule of allow_channels_pub. Errors wrap ErrRule.
func ParsePublishRule(text string) (PublishRule, error) {
	r, err := parseRule(text, false)
	return PublishRule{r}, err
}

// ParseSubscribeRule reads a rule of allow_channels_sub. Errors wrap ErrRule.
func ParseSubscribeRule(text string) (SubscribeRule, error) {
	r, err := parseRule(text, true)
	return SubscribeRule{r}, err
}

// String is the canonical text: one for all rules that allow the same.
func (r PublishRule) String() string { return r.rule.text }

// String is the canonical text: one for all rules that allow the same.
func (r SubscribeRule) String() string { return r.rule.text }

// AllowsPublish tells whether r allows the channel. For a name that channel.ValidateChannel refuses the answer means nothing,
// but that a reserved one is never allowed.
func (r *PublishRule) AllowsPublish(name string) bool {
	return !strings.HasPrefix(name, reservedPrefix) && r.rule.matches(name)
}

// AllowsSubscribe tells whether r allows every channel that p matches, and the places where r has "?" are words in p.
func (r *SubscribeRule) AllowsSubscribe(p channel.Pattern) bool { return r.rule.admits(p.Tokens()) }

// rule is a rule of either kind in its plainest form: ">" is "*" and an open end, and "#" alone is ">".
type rule struct {
	text     string
	segments []segment // at least one, but in the zero rule
	tail     bool      // open end: any further segments
}

// segment is what one place of a rule allows.
type segment struct {
	wild         byte // '*' any token, '?' any literal one, 0 for alternatives
	alternatives []alternative
}

// alternative is a word, or all words that start with it.
type alternative struct {
	word   string
	prefix bool
}

func parseRule(text string, subscribe bool) (rule, error) {
	fail := func(format string, args ...any) (rule, error) {
		return rule{}, fmt.Errorf("%w %+.80q: %s", ErrRule, text, fmt.Sprintf(format, args...))
	}
	if len(text) > MaxRuleLen {
		return fail("%d bytes, limit %d", len(text), MaxRuleLen)
	}
	var r rule
	for rest, more := text, true; more; {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		switch {
		case token != "#" && token != ">":
			s, fault := parseSegment(token, subscribe, len(r.segments) == 0)
			if fault != "" {
				return fail("%s", fault)
			}
			r.segments = append(r.segments, s)
		case more:
			return fail("%q before the last segment", token)
		default:
			r.tail = true
			if token == ">" || len(r.segments) == 0 {
				r.segments = append(r.segments, segment{wild: '*'})
			}
		}
	}
	r.text = r.canonical()
	return r, nil
}

// parseSegment reads any segment but a tail; fault is what is wrong with it, in words.
func parseSegment(token string, subscribe, first bool) (s segment, fault string) {
	switch {
	case token == "":
		return segment{}, "empty segment"
	case token == "*" || token == "?":
		if !subscribe {
			return segment{}, fmt.Sprintf("%q is not for publishing", token)
		}
		return segment{wild: token[0]}, ""
	case strings.HasPrefix(token, "(") && strings.HasSuffix(token, ")"):
		return parseAlternatives(token[1:len(token)-1], subscribe, first)
	case strings.ContainsAny(token, "(|)"):
		return segment{}, "alternatives are a whole segment in one pair of parentheses"
	case strings.HasSuffix(token, "*"):
		return segment{}, `a prefix stands in parentheses, as in "(p*)"`
	}
	if fault := checkWord(token, subscribe, first); fault != "" {
		return segment{}, fault
	}
	return segment{alternatives: []alternative{{word: strings.Clone(token)}}}, ""
}

func parseAlternatives(list string, subscribe, first bool) (s segment, fault string) {
	if n := strings.Count(list, "|") + 1; n > MaxAlternatives {
		return segment{}, fmt.Sprintf("%d alternatives in a segment, limit %d", n, MaxAlternatives)
	}
	for text := range strings.SplitSeq(list, "|") {
		word, prefix := strings.CutSuffix(text, "*")
		if word == "" {
			return segment{}, "an alternative is a word or a prefix"
		}
		if fault := checkWord(word, subscribe, first); fault != "" {
			return segment{}, fault
		}
		s.alternatives = append(s.alternatives, alternative{strings.Clone(word), prefix})
	}
	s.alternatives = reduce(s.alternatives)
	return s, ""
}

// checkWord accepts a token of a channel, and for subscribing "$" before the first.
func checkWord(word string, subscribe, first bool) (fault string) {
	if bare, reserved := strings.CutPrefix(word, reservedPrefix); reserved && first {
		if !subscribe {
			return `channels that start with "$" are reserved and not for publishing`
		}
		word = bare
	}
	if channel.ValidateWord(word) != nil {
		return "a word is 1 to 256 of a-z A-Z 0-9 _ - ~ @"
	}
	return ""
}

// reduce sorts alternatives and drops those that others cover. What starts with a prefix follows it in the order, at once.
func reduce(alternatives []alternative) []alternative {
	slices.SortFunc(alternatives, func(a, b alternative) int {
		if byWord := strings.Compare(a.word, b.word); byWord != 0 || a.prefix == b.prefix {
			return byWord
		}
		if a.prefix {
			return -1
		}
		return 1
	})
	kept := alternatives[:1]
	for _, next := range alternatives[1:] {
		if last := kept[len(kept)-1]; !last.covers(next.word, next.prefix) {
			kept = append(kept, next)
		}
	}
	return kept
}

// canonical writes the rule; a segment "*" before an open end is written with it.
func (r *rule) canonical() string {
	var b strings.Builder
	last := len(r.segments) - 1
	for i, s := range r.segments {
		if i > 0 {
			b.WriteByte('.')
		}
		switch {
		case s.wild == '*' && r.tail && i == last && i == 0:
			b.WriteByte('#')
		case s.wild == '*' && r.tail && i == last:
			b.WriteByte('>')
		default:
			s.appendTo(&b)
		}
	}
	if r.tail && r.segments[last].wild != '*' {
		b.WriteString(".#")
	}
	return b.String()
}

func (s *segment) appendTo(b *strings.Builder) {
	if s.wild != 0 {
		b.WriteByte(s.wild)
		return
	}
	if len(s.alternatives) == 1 && !s.alternatives[0].prefix {
		b.WriteString(s.alternatives[0].word)
		return
	}
	for i, a := range s.alternatives {
		b.WriteByte("(|"[min(i, 1)])
		b.WriteString(a.word)
		if a.prefix {
			b.WriteByte('*')
		}
	}
	b.WriteByte(')')
}

// matches tells whether the rule, read as a set of channels, holds name.
func (r *rule) matches(name string) bool {
	rest, more := name, true
	for i := range r.segments {
		if !more {
			return false
		}
		var token string
		token, rest, more = strings.Cut(rest, ".")
		if !r.segments[i].covers(token, false) {
			return false
		}
	}
	return len(r.segments) > 0 && (r.tail || !more)
}

// admits tells whether the rule covers a pattern, given as its tokens. In its plainest form a pattern is, like the rule, a
// number of places and perhaps an open end. Either way both are products of sets, none of them empty, so one is within
// the other when each place is within its place, the shortest match is long enough, and an open end meets an open end.
func (r *rule) admits(tokens iter.Seq[channel.Token]) bool {
	place, open := 0, false
	for token := range tokens {
		within := true
		switch {
		case token.Wildcard == 0 || token.Wildcard == '*':
			within = r.take(&place, token.Word, token.Wildcard == '*')
		case token.Word != "":
			within = r.take(&place, token.Word, true)
		case token.Wildcard == '#' && place == 0: // no channel has no tokens, so "#" is ">"
			within = r.take(&place, "", true)
		}
		if token.Wildcard == '>' {
			within = within && r.take(&place, "", true)
		}
		if !within {
			return false
		}
		open = token.Wildcard == '>' || token.Wildcard == '#'
	}
	return place > 0 && place == len(r.segments) && (r.tail || !open)
}

// take tells whether the next place of the rule covers one place of a pattern. Past the last place the tail covers all.
func (r *rule) take(place *int, word string, prefix bool) bool {
	if *place == len(r.segments) {
		return r.tail
	}
	s := &r.segments[*place]
	if *place == 0 && s.wild != 0 && strings.HasPrefix(word, reservedPrefix) {
		return false
	}
	*place++
	return s.covers(word, prefix)
}

// covers tells whether the segment allows the word, or every word that starts with it. It is enough to look at one
// alternative at a time: where none is a prefix of "p*", each alternative covers at most p itself or one of the 66 ways to
// go on after it, which are more than there can be alternatives.
func (s *segment) covers(word string, prefix bool) bool {
	switch s.wild {
	case '*':
		return true
	case '?':
		return !prefix
	}
	for i := range s.alternatives {
		if s.alternatives[i].covers(word, prefix) {
			return true
		}
	}
	return false
}

func (a *alternative) covers(word string, prefix bool) bool {
	if a.prefix {
		return strings.HasPrefix(word, a.word)
	}
	return !prefix && word == a.word
}
