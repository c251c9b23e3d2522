package demo

import "bytes"

// key is what the user pressed.
type key int

const (
	keySlow key = iota
	keyBlock
	keyKill
	keyHeal
	keyQuit
	keyUp
	keyDown
	keyPageUp
	keyPageDown
)

// plainKeys are the keys that send one byte.
func plainKey(b byte) (key, bool) {
	switch b {
	case 's', 'S':
		return keySlow, true
	case 'b', 'B':
		return keyBlock, true
	case 'k', 'K':
		return keyKill, true
	case 'h', 'H':
		return keyHeal, true
	case 'q', 'Q', 0x03, 0x04: // Ctrl-C and Ctrl-D, which raw mode hands over as bytes
		return keyQuit, true
	default:
		return 0, false
	}
}

// sequenceLimit is how long an escape sequence may be; what goes on longer is none.
const sequenceLimit = 16

// parseKeys reads what a terminal sent, and returns the keys it knows and the beginning of an escape sequence that is not complete. Of
// escape sequences it knows those of the arrows and page keys (ECMA-48 CSI, as in xterm) and skips the others.
func parseKeys(input []byte) (keys []key, rest []byte) {
	for len(input) > 0 {
		if input[0] != 0x1b {
			if k, ok := plainKey(input[0]); ok {
				keys = append(keys, k)
			}
			input = input[1:]
			continue
		}
		n := sequenceLen(input)
		if n == 0 && len(input) < sequenceLimit {
			return keys, input
		}
		n = max(n, 1)
		if k, ok := sequenceKey(input[:n]); ok {
			keys = append(keys, k)
		}
		input = input[n:]
	}
	return keys, nil
}

// sequenceLen is the length of the escape sequence at the start of the input; 0 if its end is not among the first sequenceLimit bytes. ESC
// followed by another byte than "[" or "O" is that key with Alt, which is no sequence of ours: only ESC is taken.
func sequenceLen(input []byte) int {
	switch {
	case len(input) == 1:
		return 0
	case input[1] != '[' && input[1] != 'O':
		return 1
	}
	end := bytes.IndexFunc(input[2:min(len(input), sequenceLimit)], func(r rune) bool { return r >= 0x40 && r <= 0x7e })
	if end < 0 {
		return 0
	}
	return 2 + end + 1
}

func sequenceKey(sequence []byte) (key, bool) {
	switch string(sequence) {
	case "\x1b[A", "\x1bOA":
		return keyUp, true
	case "\x1b[B", "\x1bOB":
		return keyDown, true
	case "\x1b[5~":
		return keyPageUp, true
	case "\x1b[6~":
		return keyPageDown, true
	default:
		return 0, false
	}
}
