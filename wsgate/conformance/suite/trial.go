package suite

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// fence is the channel of marks.
const fence = "zz.fence"

// maxTaken bounds what a connection reads, in bytes.
const maxTaken = 100 << 20

// trial is one run of a case. The first fault is the one that counts: after it all methods do nothing, so cases need not look.
type trial struct {
	target Target
	base   string
	web    *http.Client
	tenant string // of this trial
	token  string // for it; may be empty
	conns  []*conn
	failed error
	skips  string // why it is skipped
	marks  int
}

// carryOut runs a case.
func (t *trial) carryOut(ctx context.Context, c Case) (Outcome, string) {
	defer t.end()
	t.prepare(ctx, c)
	if t.ok() {
		c.run(ctx, t)
	}
	switch {
	case t.failed != nil:
		return Fail, t.failed.Error()
	case t.skips != "":
		return Skipped, t.skips
	default:
		return Pass, ""
	}
}

// prepare makes the tenant and the token of the trial, if it can have what it needs.
func (t *trial) prepare(ctx context.Context, c Case) {
	t.token = t.target.Token
	switch {
	case c.needs&needMaster != 0 && t.target.Master == "":
		t.skip("needs a master token")
	case c.needs&needToken != 0 && t.target.Master == "" && t.token == "":
		t.skip("needs a token")
	case c.needs&needTenants != 0 && t.token != "":
		t.skip("needs rights in other tenants than the token's")
	case t.tenant == "":
		t.tenant = "c-" + randomHex(6)
	}
	if t.ok() && t.target.Master != "" {
		t.token = t.mint(ctx, t.everything())
	}
}

// longTenant and oddTenant are the extremes of tenants; other is one more.
func longTenant() string       { return strings.Repeat("t", 128) }
func oddTenant() string        { return "aZ09_-~@." }
func (t *trial) other() string { return t.tenant + "-2" }

// everything allows all that cases do.
func (t *trial) everything() map[string]any {
	return rights(map[string]any{
		"tenant_ids":         []string{t.tenant, t.other(), longTenant(), oddTenant(), "~"},
		"allow_channels_pub": []string{"#"}, "allow_channels_sub": []string{"#"},
	})
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (t *trial) end() {
	for _, c := range t.conns {
		_ = c.socket.net.Close()
	}
}

// ok tells whether there is a point in going on.
func (t *trial) ok() bool { return t.failed == nil && t.skips == "" }

func (t *trial) skip(reason string) {
	if t.ok() {
		t.skips = reason
	}
}

func (t *trial) fail(format string, args ...any) {
	if t.ok() {
		t.failed = fmt.Errorf(format, args...)
	}
}

// conn is a connection of a trial.
type conn struct {
	*trial
	socket     *socket
	lines      []string // that came and were not asked for yet
	deliveries []delivery
	taken      int // bytes read, with something for each message
	closed     bool
}

// usual is the handshake of the official SDK.
func (t *trial) usual() handshake {
	if t.token == "" {
		return handshake{protocols: "llps.v1"}
	}
	return handshake{protocols: "llps.v1,at." + t.token}
}

// dial makes a connection in the usual way.
func (t *trial) dial(ctx context.Context) *conn { return t.dialBy(ctx, t.usual()) }

// dialBy makes a connection; a refusal is a failure.
func (t *trial) dialBy(ctx context.Context, h handshake) *conn {
	c, status := t.ask(ctx, h)
	if status != http.StatusSwitchingProtocols {
		t.fail("the handshake was refused with status %d", status)
	}
	return c
}

// ask makes a connection if it is not refused, and returns the status.
func (t *trial) ask(ctx context.Context, h handshake) (*conn, int) {
	c := &conn{trial: t, socket: &socket{}} // so that what follows need not look
	if !t.ok() {
		return c, 0
	}
	s, status, err := upgrade(ctx, t.target, h)
	if s != nil {
		c.socket = s
		t.conns = append(t.conns, c)
	}
	if err != nil {
		t.fail("%w", err)
	}
	return c, status
}

// subscriber is a connection with subscriptions, and that to the fence.
func (t *trial) subscriber(ctx context.Context, patterns ...string) *conn {
	c := t.dial(ctx)
	for _, p := range append(patterns, fence) {
		c.sub(t.tenant, p)
	}
	return c
}

func (c *conn) write(frames ...[]byte) {
	if !c.ok() {
		return
	}
	if err := c.socket.write(frames...); err != nil {
		c.fail("%w", err)
	}
}

// line sends a text line.
func (c *conn) line(text string) { c.write(frame(opText, true, []byte(text))) }

// binary sends a binary message.
func (c *conn) binary(b []byte) { c.write(frame(opBinary, true, b)) }

// publish broadcasts in the trial's tenant.
func (c *conn) publish(channel, payload string) { c.binary(publishV1(c.tenant, channel, payload)) }

// sub subscribes and waits for the acknowledgement.
func (c *conn) sub(tenant, pattern string) {
	c.line("SUB:" + tenant + ":" + pattern)
	c.expect("OK:SUB:" + tenant + ":" + pattern)
}

func (c *conn) unsub(tenant, pattern string) {
	c.line("UNSUB:" + tenant + ":" + pattern)
	c.expect("OK:UNSUB:" + tenant + ":" + pattern)
}

// read takes in one message; it tells whether there was one.
func (c *conn) read(waitingFor string) bool {
	if !c.ok() || c.closed {
		return false
	}
	op, payload, err := c.socket.read()
	c.taken += len(payload) + 100
	switch {
	case errors.Is(err, errClosed):
		c.closed = true
		return false
	case err != nil:
		c.fail("waiting for %s: %w", waitingFor, err)
		return false
	case op == opText:
		// A line that nobody knows is for newer clients.
		for _, known := range []string{"OK:", "ERR:", "PONG", "{"} {
			if strings.HasPrefix(string(payload), known) {
				c.lines = append(c.lines, string(payload))
				break
			}
		}
	case op == opBinary:
		d, err := parseDelivery(payload)
		if err != nil {
			c.fail("waiting for %s: %w", waitingFor, err)
			return false
		}
		c.deliveries = append(c.deliveries, d)
	}
	if c.taken > maxTaken {
		c.fail("waiting for %s: an endless stream", waitingFor)
	}
	return c.ok()
}

// nextLine is the next line that answers something.
func (c *conn) nextLine(waitingFor string) string {
	for len(c.lines) == 0 {
		if !c.read(waitingFor) {
			if c.closed {
				c.fail("waiting for %s: closed with status %d", waitingFor, c.socket.status)
			}
			return ""
		}
	}
	line := c.lines[0]
	c.lines = c.lines[1:]
	return line
}

// expect waits for a line.
func (c *conn) expect(line string) {
	if got := c.nextLine(short(line)); c.ok() && got != line {
		c.fail("got %q, want %q", short(got), short(line))
	}
}

// expectFault waits for an ERR line with one of the codes.
func (c *conn) expectFault(what string, codes ...string) {
	want := "ERR:" + strings.Join(codes, " or ERR:")
	got := c.nextLine(want)
	for _, code := range codes {
		if got == "ERR:"+code || strings.HasPrefix(got, "ERR:"+code+":") {
			return
		}
	}
	c.fail("%s: got %q, want %s", what, short(got), want)
}

// alive checks that the connection still answers, and that nothing else was to come: the answer is like no other.
func (c *conn) alive() {
	c.marks++
	c.unsub(c.tenant, fmt.Sprint("alive.", c.marks))
}

// delivery is the next delivery.
func (c *conn) delivery(waitingFor string) delivery {
	for len(c.deliveries) == 0 {
		if !c.read(waitingFor) {
			if c.closed {
				c.fail("waiting for %s: closed with status %d", waitingFor, c.socket.status)
			}
			return delivery{}
		}
	}
	d := c.deliveries[0]
	c.deliveries = c.deliveries[1:]
	return d
}

// until publishes a mark by another connection, or the same, and returns what c gets before it.
func (c *conn) until(publisher *conn) []delivery {
	c.marks++
	mark := fmt.Sprint("mark ", c.marks)
	publisher.publish(fence, mark)
	var before []delivery
	for c.ok() {
		d := c.delivery("a mark")
		if d.channel == fence && d.payload == mark {
			break
		}
		if d.channel != fence { // or a mark for another connection
			before = append(before, d)
		}
	}
	return before
}

// closing reads until the connection is closed, and returns the status.
func (c *conn) closing() int {
	for c.read("the end of the connection") {
		c.lines, c.deliveries = nil, nil
	}
	if !c.ok() {
		return 0
	}
	return c.socket.status
}

// rights is a request's right with these grants, good for an hour.
func rights(grants ...map[string]any) map[string]any {
	return map[string]any{
		"tenant_grants": grants, "allow_ip_masks": []string{}, "allow_regions": []string{}, "allowed_ws_origin": []string{},
		"expires_at": inTime(time.Hour),
	}
}

func inTime(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

// mint has a token made.
func (t *trial) mint(ctx context.Context, right map[string]any) string {
	status, answer := t.rest(ctx, http.MethodPost, "/v1/get-token", t.target.Master, map[string]any{"right": right, "created_by": "conformance"})
	token, _ := answer["token"].(string)
	if t.ok() && (status/100 != 2 || token == "") {
		t.fail("get-token: status %d, %v", status, answer)
	}
	return token
}

// rest makes a request; a body that is a string is sent as it is. An answer that is no JSON object is empty.
func (t *trial) rest(ctx context.Context, method, path, bearer string, body any) (int, map[string]any) {
	status, answer := t.page(ctx, method, t.base+path, bearer, body)
	object := map[string]any{}
	_ = json.Unmarshal(answer, &object)
	return status, object
}

// page makes a request for a page.
func (t *trial) page(ctx context.Context, method, url, bearer string, body any) (status int, answer []byte) {
	if !t.ok() {
		return 0, nil
	}
	text, isText := body.(string)
	content := []byte(text)
	if !isText && body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			t.fail("%w", err)
			return 0, nil
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(content))
	if err != nil {
		t.fail("%w", err)
		return 0, nil
	}
	request.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := t.web.Do(request)
	if err != nil {
		t.fail("%w", err)
		return 0, nil
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		t.fail("%s: %w", url, err)
	}
	return response.StatusCode, answer
}
