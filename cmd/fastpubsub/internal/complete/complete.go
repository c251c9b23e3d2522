// Package complete says how a command line may go on, by kong's model of the program, for shells to offer.
//
// The scripts for the shells know no command and no option: they ask the program at each completion. So they cannot drift from it, not even when it is
// replaced by another release and they are not.
//
//	fastpubsub completion words -- WORD ...   the words after the program's name, the last of which is to be completed and may be empty
//
// prints a line for each candidate, the word and after a tab what it means; or one line, ":files" or ":dirs", where the shell should offer those.
package complete

import (
	"slices"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
)

// Candidate is a word that the last one may become.
type Candidate struct{ Word, Help string }

// What a shell should offer by itself, in place of candidates.
const (
	Files = ":files"
	Dirs  = ":dirs"
)

// cursor is where a command line stands.
type cursor struct {
	node    *kong.Node
	flags   []*kong.Flag // of the node and all above it
	used    map[*kong.Flag]bool
	pending *kong.Flag // whose value comes next
	given   int        // positional arguments
	ended   bool       // "--" has come: no options any more
}

// Words are the candidates for the last word, in the model's order; or else what the shell should offer, if anything.
func Words(app *kong.Application, words []string) (candidates []Candidate, shell string) {
	if len(words) == 0 {
		words = []string{""}
	}
	c := &cursor{node: app.Node, flags: visible(app.Flags), used: map[*kong.Flag]bool{}}
	last := len(words) - 1
	for _, word := range words[:last] {
		c.pass(word)
	}
	word := words[last]
	switch name, value, assigned := strings.Cut(word, "="); {
	case c.pending != nil:
		return values(c.pending.Value, c.pending.PlaceHolder, strings.TrimPrefix(word, "="), "") // bash makes a word of "="
	case !c.ended && assigned && strings.HasPrefix(word, "--"):
		if flag := c.find(name); flag != nil {
			return values(flag.Value, flag.PlaceHolder, value, name+"=")
		}
		return nil, ""
	case !c.ended && strings.HasPrefix(word, "-"):
		return c.options(word), ""
	}
	for _, child := range c.node.Children {
		if !child.Hidden && strings.HasPrefix(child.Name, word) {
			candidates = append(candidates, Candidate{child.Name, brief(child.Help)})
		}
	}
	switch positional := c.node.Positional; {
	case len(c.node.Children) > 0:
		return candidates, ""
	case c.given < len(positional):
		return values(positional[c.given], "", word, "")
	case word == "" && !c.ended && len(positional) == 0:
		return c.options(word), "" // nothing else can come
	}
	return nil, ""
}

// pass goes past a word that is complete.
func (c *cursor) pass(word string) {
	name, _, assigned := strings.Cut(word, "=")
	switch {
	case c.pending != nil:
		if word != "=" {
			c.pending = nil
		}
	case c.ended:
		c.given++
	case word == "--":
		c.ended = true
	case strings.HasPrefix(word, "-") && len(word) > 1:
		flag := c.find(name)
		if flag == nil {
			return
		}
		c.used[flag] = true
		if !assigned && !flag.IsBool() && !flag.IsCounter() {
			c.pending = flag
		}
	default:
		for _, child := range c.node.Children {
			if child.Name == word || slices.Contains(child.Aliases, word) {
				c.node = child
				c.flags = append(c.flags, visible(child.Flags)...)
				return
			}
		}
		c.given++
	}
}

// find is the option of a name with its dashes.
func (c *cursor) find(name string) *kong.Flag {
	for _, flag := range c.flags {
		if name == "--"+flag.Name || flag.Short != 0 && name == "-"+string(flag.Short) || name == negation(flag) {
			return flag
		}
	}
	return nil
}

// negation is how a flag is said to be off; empty where it cannot be.
func negation(flag *kong.Flag) string {
	switch flag.Tag.Negatable {
	case "":
		return ""
	case "_":
		return "--no-" + flag.Name
	}
	return "--" + flag.Tag.Negatable
}

func visible(flags []*kong.Flag) (out []*kong.Flag) {
	for _, flag := range flags {
		if !flag.Hidden {
			out = append(out, flag)
		}
	}
	return out
}

// options are those that begin so and may still come.
func (c *cursor) options(word string) (candidates []Candidate) {
	for _, flag := range c.flags {
		if c.used[flag] && !flag.IsCumulative() {
			continue
		}
		if name := "--" + flag.Name; strings.HasPrefix(name, word) {
			candidates = append(candidates, Candidate{name, brief(flag.Help)})
		}
		if name := negation(flag); name != "" && strings.HasPrefix(name, word) {
			candidates = append(candidates, Candidate{name, "Not: " + brief(flag.Help)})
		}
	}
	return candidates
}

// values are what an option or argument may be, where that is known.
func values(v *kong.Value, placeholder, word, before string) (candidates []Candidate, shell string) {
	if v.Enum != "" {
		for _, value := range v.EnumSlice() {
			if strings.HasPrefix(value, word) {
				candidates = append(candidates, Candidate{Word: before + value})
			}
		}
		return candidates, ""
	}
	switch {
	case placeholder == "DIR":
		return nil, Dirs
	case placeholder == "FILE" || v.Tag.Type == "path":
		return nil, Files
	}
	return nil, ""
}

// brief is the first sentence of a help text.
func brief(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	first = strings.TrimSuffix(first, ".")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, first)
}
