package suite

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 has it so
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Opcodes: RFC 6455, section 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

const (
	// maxFrame bounds a frame that is read, in bytes.
	maxFrame = 16 << 20
	// noStatus and abnormal are statuses that stand for none, and for the end without a close frame.
	noStatus = 1005
	abnormal = 1006
)

// errClosed is the end of a connection, of which the status is known.
var errClosed = errors.New("the connection is closed")

// handshake is a request to upgrade.
type handshake struct {
	path          string
	protocols     string // the header as it is; empty leaves it out
	authorization string
	origin        string
}

// socket is a WebSocket connection on the client's side.
type socket struct {
	net    net.Conn
	in     *bufio.Reader
	head   http.Header // of the 101
	wait   time.Duration
	status int // of the close frame that came
	pongs  []string
}

// upgrade makes a connection. A refusal is no error: then the status is another than 101 and there is no socket.
func upgrade(ctx context.Context, target Target, h handshake) (s *socket, status int, err error) {
	u, err := url.Parse(target.URL)
	if err != nil {
		return nil, 0, err
	}
	conn, err := connect(ctx, target, u)
	if err != nil {
		return nil, 0, fmt.Errorf("connect: %w", err)
	}
	if h.path == "" {
		h.path = u.RequestURI()
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	key := base64.StdEncoding.EncodeToString(nonce)
	var request strings.Builder
	request.WriteString("GET " + h.path + " HTTP/1.1\r\nHost: " + u.Host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n")
	for _, header := range [][2]string{{"Sec-WebSocket-Protocol", h.protocols}, {"Authorization", h.authorization}, {"Origin", h.origin}} {
		if header[1] != "" {
			request.WriteString(header[0] + ": " + header[1] + "\r\n")
		}
	}
	request.WriteString("\r\n")
	_ = conn.SetDeadline(time.Now().Add(target.Wait))
	s = &socket{net: conn, in: bufio.NewReader(conn), wait: target.Wait}
	if _, err = io.WriteString(conn, request.String()); err != nil {
		_ = conn.Close()
		return nil, 0, fmt.Errorf("handshake: %w", err)
	}
	response, err := http.ReadResponse(s.in, nil)
	if err != nil {
		_ = conn.Close()
		return nil, 0, fmt.Errorf("handshake: %w", err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		_ = conn.Close()
		return nil, response.StatusCode, nil
	}
	s.head = response.Header
	return s, response.StatusCode, s.checkAccept(key)
}

func connect(ctx context.Context, target Target, u *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, target.Wait)
	defer cancel()
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), map[string]string{"ws": "80", "wss": "443"}[u.Scheme])
	}
	conn, err := target.DialContext(ctx, "tcp", addr)
	if err != nil || u.Scheme == "ws" {
		return conn, err
	}
	cfg := target.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = u.Hostname()
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// checkAccept checks the server's answer to the key: RFC 6455, section 4.2.2.
func (s *socket) checkAccept(key string) error {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	switch {
	case s.head.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return errors.New("handshake: a wrong Sec-WebSocket-Accept")
	case !strings.EqualFold(s.head.Get("Upgrade"), "websocket"):
		return errors.New("handshake: no Upgrade: websocket")
	}
	return nil
}

// frame is one masked frame.
func frame(op byte, fin bool, payload []byte) []byte {
	if fin {
		op |= 0x80
	}
	b := []byte{op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := make([]byte, 4)
	_, _ = rand.Read(mask)
	b = append(b, mask...)
	for i, x := range payload {
		b = append(b, x^mask[i%4])
	}
	return b
}

func (s *socket) write(frames ...[]byte) error {
	_ = s.net.SetWriteDeadline(time.Now().Add(s.wait))
	for _, b := range frames {
		if _, err := s.net.Write(b); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// read is the next text or binary message. It answers pings and keeps pongs; after a close frame it is errClosed.
func (s *socket) read() (op byte, payload []byte, err error) {
	_ = s.net.SetReadDeadline(time.Now().Add(s.wait))
	for {
		first, part, err := s.readFrame()
		if err != nil {
			if s.status = abnormal; errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errClosed
			}
			return 0, nil, err
		}
		fin := first&0x80 != 0
		switch code := first & 0x0f; {
		case first&0x70 != 0:
			return 0, nil, errors.New("a frame with reserved bits")
		case code == opPing:
			if err := s.write(frame(opPong, true, part)); err != nil {
				return 0, nil, err
			}
		case code == opPong:
			if s.pongs = append(s.pongs, string(part)); len(s.pongs) > 1000 {
				return 0, nil, errors.New("too many pongs")
			}
			return opPong, nil, nil
		case code == opClose:
			if s.status = noStatus; len(part) >= 2 {
				s.status = int(binary.BigEndian.Uint16(part))
			}
			return 0, nil, errClosed
		case code == opContinuation && op != 0 || (code == opText || code == opBinary) && op == 0:
			if op == 0 {
				op = code
			}
			payload = append(payload, part...)
			if len(payload) > maxFrame {
				return 0, nil, errors.New("an endless message")
			}
			if fin {
				return op, payload, nil
			}
		default:
			return 0, nil, fmt.Errorf("a frame with opcode %d out of place", code)
		}
	}
}

func (s *socket) readFrame() (first byte, payload []byte, err error) {
	var head [10]byte
	if _, err := io.ReadFull(s.in, head[:2]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1] & 0x7f)
	switch {
	case head[1]&0x80 != 0:
		return 0, nil, errors.New("a masked frame")
	case n == 126:
		_, err = io.ReadFull(s.in, head[2:4])
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case n == 127:
		_, err = io.ReadFull(s.in, head[2:10])
		n = binary.BigEndian.Uint64(head[2:])
	}
	if err == nil && n > maxFrame {
		err = fmt.Errorf("a frame of %d bytes", n)
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(s.in, payload)
	return head[0], payload, err
}
