package channel

import (
	"fmt"
	"iter"
	"strings"
)

// The wildcards. All are below 64, so that a set of bytes holds them in its first word.
const (
	oneToken    = '*' // the rest of this token
	someTokens  = '>' // the rest of this token, and one or more tokens
	anyTokens   = '#' // the rest of this token, and zero or more tokens
	wildcards   = "#*>"
	tailSymbols = "#>"
)

// Pattern is a valid subscription pattern; the package comment says what it matches. Patterns compare with == and
// serve as map keys. The zero Pattern is no pattern: it matches no channel.
type Pattern struct {
	text string
}

// ParsePattern reads a pattern. Errors wrap ErrPattern.
func ParsePattern(s string) (Pattern, error) {
	if err := checkLen(ErrPattern, s, MaxNameLen); err != nil {
		return Pattern{}, err
	}
	for rest, more, first := bare(s), true, IsReserved(s); more; first = false {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		if err := checkPatternToken(token, !more); err != nil {
			return Pattern{}, err
		}
		if first && isWildcard(token[0]) {
			return Pattern{}, fmt.Errorf("%w: %q has no name", ErrPattern, reserved)
		}
	}
	// A copy: s may be a slice of a far larger message, which a stored pattern must not keep alive.
	return Pattern{text: strings.Clone(s)}, nil
}

// checkPatternToken accepts a word, a wildcard, or a word that ends in a wildcard; "#" and ">" only as the last token.
func checkPatternToken(token string, last bool) error {
	if token == "" {
		return fmt.Errorf("%w: empty token", ErrPattern)
	}
	word, symbol := token[:len(token)-1], token[len(token)-1]
	if strings.IndexByte(wildcards, symbol) < 0 {
		return checkWord(ErrPattern, token)
	}
	if !last && strings.IndexByte(tailSymbols, symbol) >= 0 {
		return fmt.Errorf("%w: %q before the last token", ErrPattern, symbol)
	}
	if word == "" {
		return nil
	}
	return checkWord(ErrPattern, word)
}

// String is the pattern byte for byte as it was parsed; "" for the zero Pattern.
func (p Pattern) String() string { return p.text }

// Matches tells whether p matches the channel name. For a name that ValidateChannel refuses the answer means nothing.
func (p Pattern) Matches(name string) bool {
	at, ok := advance(p.text, name, 0)
	return ok && at == len(name) && p != Pattern{}
}

// LiteralPrefix is what every matching channel starts with. Where exact, p is the one concrete name prefix. Otherwise
// prefix is the longest run of whole literal tokens before the first wildcard, and each channel that p matches is
// prefix or below it; "" is above every channel. The zero Pattern gives "", exact.
func (p Pattern) LiteralPrefix() (prefix string, exact bool) {
	wild := strings.IndexAny(p.text, wildcards)
	if wild < 0 {
		return p.text, true
	}
	dot := strings.LastIndexByte(p.text[:wild], '.')
	return p.text[:max(dot, 0)], false
}

// Token is one token of a pattern: a word, then the wildcard that ends it. Either may be missing, not both.
type Token struct {
	Word     string
	Wildcard byte // '*', '>' or '#'; 0 for none
}

// Tokens yields the tokens of p from the first to the last; those of the zero Pattern are none.
func (p Pattern) Tokens() iter.Seq[Token] {
	return func(yield func(Token) bool) {
		for rest, more := p.text, p.text != ""; more; {
			var token string
			token, rest, more = strings.Cut(rest, ".")
			word, wildcard := token, byte(0)
			if last := len(token) - 1; isWildcard(token[last]) {
				word, wildcard = token[:last], token[last]
			}
			if !yield(Token{word, wildcard}) {
				return
			}
		}
	}
}

// isExact tells whether p holds no wildcard. A wildcard ends its token, but any token may have one.
func (p Pattern) isExact() bool { return !strings.ContainsAny(p.text, wildcards) }

// advance matches part, a piece of a pattern, against name from offset at and returns the offset after what part took.
// Offset len(name)+1 stands past a dot that the name does not have, where only "#" matches. The pattern's grammar
// makes the rules this short: nothing but a dot follows "*", nothing follows ">" and "#".
func advance(part, name string, at int) (next int, ok bool) {
	for i := range len(part) {
		switch symbol := part[i]; {
		case at == 0 && isWildcard(symbol) && IsReserved(name):
			return 0, false
		case symbol == anyTokens:
			return len(name), true
		case at > len(name):
			return 0, false
		case symbol == oneToken:
			at = tokenEnd(name, at)
		case symbol == someTokens:
			return len(name), startsToken(name, at) || tokenEnd(name, at) < len(name)
		case at < len(name) && name[at] == symbol, at == len(name) && symbol == '.':
			at++
		default:
			return 0, false
		}
	}
	return at, true
}

// tokenEnd is the offset of the first dot of name at or after at, or len(name).
func tokenEnd(name string, at int) int {
	if n := strings.IndexByte(name[at:], '.'); n >= 0 {
		return at + n
	}
	return len(name)
}

// startsToken tells whether a token of name starts at offset at.
func startsToken(name string, at int) bool {
	return at < len(name) && (at == 0 || name[at-1] == '.')
}

func isWildcard(c byte) bool { return c == oneToken || c == someTokens || c == anyTokens }
