package suite

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
)

func handshakeCases() []Case {
	return []Case{
		{
			"2.handshake.subprotocol", "S", "a 101 answers the offer llps.v1 with Sec-WebSocket-Protocol: llps.v1, once",
			0, echoesSubprotocol,
		},
		{
			"2.handshake.token-not-echoed", "D", "of the offer llps.v1,at.<token> nothing but llps.v1 comes back, with or without a space after the comma",
			0, hidesToken,
		},
		{"2.handshake.no-offer", "I", "a client that offers no subprotocol gets none", 0, offersNothing},
		{"2.handshake.no-extension", "S", "a client that offers no extension gets none", 0, func(ctx context.Context, t *trial) {
			if c := t.dial(ctx); t.ok() && c.socket.head.Get("Sec-WebSocket-Extensions") != "" {
				t.fail("Sec-WebSocket-Extensions: %s", c.socket.head.Get("Sec-WebSocket-Extensions"))
			}
		}},
		{"2.handshake.protocol-ping", "S", "a protocol-level ping is answered by a pong with the same payload", 0, answersPing},
		{"2.handshake.plain-get", "I", "GET /ws without an upgrade is refused", 0, func(ctx context.Context, t *trial) {
			if status, _ := t.page(ctx, http.MethodGet, t.base+"/ws", "", nil); status < 400 {
				t.fail("status %d", status)
			}
		}},
	}
}

func echoesSubprotocol(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	if !t.ok() {
		return
	}
	if got := c.socket.head.Values("Sec-WebSocket-Protocol"); len(got) != 1 || got[0] != "llps.v1" {
		t.fail("Sec-WebSocket-Protocol: %q", got)
	}
}

func hidesToken(ctx context.Context, t *trial) {
	token := t.token
	if token == "" {
		token = "AT_" + strings.Repeat("0", 32) + "_" + strings.Repeat("1", 32)
	}
	for _, comma := range []string{",", ", "} {
		c := t.dialBy(ctx, handshake{protocols: "llps.v1" + comma + "at." + token})
		if !t.ok() {
			return
		}
		for name, values := range c.socket.head {
			if strings.Contains(strings.Join(values, ","), token) {
				t.fail("the token is in the header %s", name)
			}
		}
		if got := c.socket.head.Values("Sec-WebSocket-Protocol"); len(got) != 1 || got[0] != "llps.v1" {
			t.fail("Sec-WebSocket-Protocol: %q", got)
		}
	}
}

func offersNothing(ctx context.Context, t *trial) {
	h := handshake{}
	if t.token != "" {
		h.authorization = "Bearer " + t.token
	}
	c := t.dialBy(ctx, h)
	if t.ok() && c.socket.head.Get("Sec-WebSocket-Protocol") != "" {
		t.fail("Sec-WebSocket-Protocol: %s", c.socket.head.Get("Sec-WebSocket-Protocol"))
	}
	c.alive()
}

func answersPing(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	c.write(frame(opPing, true, []byte("are you there")))
	c.line("PING")
	c.expect("PONG")
	for len(c.socket.pongs) == 0 && c.read("a pong") {
	}
	if t.ok() && (len(c.socket.pongs) != 1 || c.socket.pongs[0] != "are you there") {
		t.fail("pongs: %q", c.socket.pongs)
	}
}

func tokenHandshakeCases() []Case {
	return []Case{
		{"2.token.in-header", "D", "Authorization: Bearer <token> is taken", needToken, func(ctx context.Context, t *trial) {
			t.dialBy(ctx, handshake{protocols: "llps.v1", authorization: "Bearer " + t.token}).alive()
		}},
		{"2.token.in-subprotocol", "S", "a token in the offer llps.v1,at.<token> is taken", needToken, func(ctx context.Context, t *trial) {
			t.dialBy(ctx, handshake{protocols: "llps.v1,at." + t.token}).alive()
		}},
		{"2.token.header-first", "D", "the header is looked at first", needToken, func(ctx context.Context, t *trial) {
			t.dialBy(ctx, handshake{protocols: "llps.v1,at.nonsense", authorization: "Bearer " + t.token}).alive()
			t.refused(ctx, handshake{protocols: "llps.v1,at." + t.token, authorization: "Bearer nonsense"}, 401)
		}},
		{"2.token.none-is-401", "D", "without a token: 401 instead of 101", needToken, func(ctx context.Context, t *trial) {
			t.refused(ctx, handshake{protocols: "llps.v1"}, 401)
		}},
		{"2.token.unknown-is-401", "D", "with a token that nobody issued: 401", needToken, func(ctx context.Context, t *trial) {
			for _, token := range []string{"x", "AT_", "AT__", "AT_" + randomHex(16) + "_" + randomHex(16), t.token + "0", t.token[:len(t.token)-1]} {
				t.refused(ctx, handshake{protocols: "llps.v1,at." + token}, 401)
			}
		}},
		{"2.token.expired-is-401", "D", "with an expired token: 401", needMaster, expiredToken},
		{
			"2.token.origin", "D/I", "a token's list of origins admits these exactly, and not a client without one",
			needMaster, originsOfToken,
		},
		{"2.token.ip-mask", "D", "a token's list of IP masks admits these only", needMaster, func(ctx context.Context, t *trial) {
			t.refused(ctx, t.with(ctx, "allow_ip_masks", "192.0.2.0/24"), 401, 403)
			t.dialBy(ctx, t.with(ctx, "allow_ip_masks", "0.0.0.0/0", "::/0")).alive()
		}},
		{"2.token.region", "D", "a token's list of regions admits no client elsewhere", needMaster, func(ctx context.Context, t *trial) {
			t.refused(ctx, t.with(ctx, "allow_regions", "NOWHERE"), 401, 403)
		}},
	}
}

// refused expects a handshake to be refused with one of the statuses.
func (t *trial) refused(ctx context.Context, h handshake, statuses ...int) {
	if _, status := t.ask(ctx, h); !slices.Contains(statuses, status) {
		t.fail("status %d, want %d", status, statuses)
	}
}

// with is the handshake with a new token that has one more list.
func (t *trial) with(ctx context.Context, list string, values ...string) handshake {
	right := t.everything()
	right[list] = values
	return handshake{protocols: "llps.v1,at." + t.mint(ctx, right)}
}

func expiredToken(ctx context.Context, t *trial) {
	right := t.everything()
	right["expires_at"] = inTime(2 * time.Second)
	token := t.mint(ctx, right)
	if !t.ok() {
		return
	}
	// Servers may allow for some difference of clocks.
	select {
	case <-time.After(2*time.Second + t.target.Wait):
	case <-ctx.Done():
		t.skip("stopped")
	}
	t.refused(ctx, handshake{protocols: "llps.v1,at." + token}, 401)
}

func originsOfToken(ctx context.Context, t *trial) {
	h := t.with(ctx, "allowed_ws_origin", "https://app.example.org")
	t.refused(ctx, h, 401, 403)
	for _, origin := range []string{"https://other.example.org", "http://app.example.org", "https://app.example.org.example.net"} {
		h.origin = origin
		t.refused(ctx, h, 401, 403)
	}
	h.origin = "https://app.example.org"
	t.dialBy(ctx, h).alive()
}
