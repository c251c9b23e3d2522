package wsgate

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// frame is a WebSocket frame as a client sees it.
type frame struct {
	op      byte
	payload []byte
}

// rawClient speaks WebSocket by hand, so that what the server writes is judged by an independent reader.
type rawClient struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	head http.Header // of the server's 101
}

// rawHandshake does the client's part of the handshake.
func rawHandshake(t *testing.T, conn net.Conn, path string, protocols ...string) (*rawClient, *http.Response) {
	t.Helper()
	if len(protocols) == 0 {
		return rawRequest(t, conn, path)
	}
	return rawRequest(t, conn, path, "Sec-WebSocket-Protocol: "+strings.Join(protocols, ","))
}

// rawRequest is rawHandshake with further header lines.
func rawRequest(t *testing.T, conn net.Conn, path string, headers ...string) (*rawClient, *http.Response) {
	t.Helper()
	c, response, err := tryRequest(t, conn, path, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return c, response
}

// tryRequest is rawRequest on a connection that may fail.
func tryRequest(t *testing.T, conn net.Conn, path string, headers ...string) (*rawClient, *http.Response, error) {
	request := "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, line := range headers {
		request += line + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return nil, nil, err
	}
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, nil, err
	}
	return &rawClient{t: t, conn: conn, in: in, head: response.Header}, response, nil
}

// send writes one masked frame with the FIN bit.
func (c *rawClient) send(op byte, payload []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(maskedFrame(op, payload)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func maskedFrame(op byte, payload []byte) []byte {
	b := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := [4]byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, key[:]...)
	for i, x := range payload {
		b = append(b, x^key[i%4])
	}
	return b
}

const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

func (c *rawClient) text(line string)     { c.t.Helper(); c.send(opText, []byte(line)) }
func (c *rawClient) binary(b []byte)      { c.t.Helper(); c.send(opBinary, b) }
func (c *rawClient) publish(ch, p string) { c.t.Helper(); c.binary(publishV1("t", ch, p)) }

func publishV1(tenant, ch, payload string) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(tenant)))
	b = append(b, tenant...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(ch)))
	b = append(b, ch...)
	return append(b, payload...)
}

// readFrame reads one frame and refuses whatever a server of ours may not send.
func (c *rawClient) readFrame() (frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return frame{}, err
	}
	op := head[0] & 0x0f
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return frame{}, fmt.Errorf("invariant 1: frame header % x", head)
	}
	n := int(head[1])
	switch n {
	case 126:
		var long [2]byte
		if _, err := io.ReadFull(c.in, long[:]); err != nil {
			return frame{}, err
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	case 127:
		var long [8]byte
		if _, err := io.ReadFull(c.in, long[:]); err != nil {
			return frame{}, err
		}
		n = int(binary.BigEndian.Uint64(long[:]))
	}
	switch op {
	case opText, opBinary:
	case opClose, opPing, opPong:
		if n > 125 {
			return frame{}, fmt.Errorf("invariant 1: control frame of %d bytes", n)
		}
	default:
		return frame{}, fmt.Errorf("invariant 1: opcode %d", op)
	}
	if n > 4<<20 {
		return frame{}, fmt.Errorf("invariant 1: frame of %d bytes", n)
	}
	f := frame{op: op, payload: make([]byte, n)}
	_, err := io.ReadFull(c.in, f.payload)
	return f, err
}

// next is the next frame.
func (c *rawClient) next() frame {
	c.t.Helper()
	f, err := c.readFrame()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return f
}

// line is the next frame, which must be text.
func (c *rawClient) line() string {
	c.t.Helper()
	f := c.next()
	if f.op != opText {
		c.t.Fatalf("got frame %d %q, want text", f.op, f.payload)
	}
	return string(f.payload)
}

// ask sends a line and expects the answer next.
func (c *rawClient) ask(line, want string) {
	c.t.Helper()
	c.text(line)
	if got := c.line(); got != want {
		c.t.Fatalf("%.80q: got %q, want %q", line, got, want)
	}
}

// quiet expects nothing to come in for a while.
func (c *rawClient) quiet() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	if f, err := c.readFrame(); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("got frame %d %q, error %v; want nothing", f.op, f.payload, err)
	}
	_ = c.conn.SetReadDeadline(time.Time{})
}

// closed expects a close frame with the status next, and after it the end of the connection if it is answered.
func (c *rawClient) closed(status uint16) {
	c.t.Helper()
	f := c.next()
	if f.op != opClose || len(f.payload) < 2 || binary.BigEndian.Uint16(f.payload) != status {
		c.t.Fatalf("got frame %d %q, want close %d", f.op, f.payload, status)
	}
	c.send(opClose, f.payload[:2])
	if f, err := c.readFrame(); err == nil {
		c.t.Fatalf("invariant 1: frame %d %q after close", f.op, f.payload)
	}
}
