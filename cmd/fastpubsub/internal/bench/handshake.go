package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// connectPatience bounds the making of a connection.
	connectPatience = 10 * time.Second
	subprotocol     = "llps.v1"
	// handshakeGUID is part of the answer to a key (RFC 6455, section 1.3).
	handshakeGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// dialWebSocket connects and does the handshake. rest is what the server sent behind its answer.
func dialWebSocket(ctx context.Context, dialer *net.Dialer, address, token string) (c net.Conn, rest []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, fmt.Errorf("bench: %w", err)
	}
	if c, err = dialTransport(ctx, dialer, u); err != nil {
		return nil, nil, fmt.Errorf("bench: connect to %s: %w", address, err)
	}
	// The deadline of ctx bounds reads and writes too.
	stop := context.AfterFunc(ctx, func() { c.Close() })
	rest, err = handshake(c, u, token)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.Close()
		return nil, nil, fmt.Errorf("bench: handshake with %s: %w", address, err)
	}
	return c, rest, nil
}

func dialTransport(ctx context.Context, dialer *net.Dialer, u *url.URL) (net.Conn, error) {
	port := u.Port()
	switch {
	case u.Scheme == "ws" && port == "":
		port = "80"
	case u.Scheme == "wss" && port == "":
		port = "443"
	}
	addr := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "wss" {
		return (&tls.Dialer{NetDialer: dialer, Config: &tls.Config{ServerName: u.Hostname(), NextProtos: []string{"http/1.1"}}}).DialContext(ctx, "tcp", addr)
	}
	return dialer.DialContext(ctx, "tcp", addr)
}

// handshake asks for WebSocket (RFC 6455, section 4.1).
func handshake(c net.Conn, u *url.URL, token string) (rest []byte, err error) {
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	request := "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Protocol: " + subprotocol + "\r\n"
	if token != "" {
		request += "Authorization: Bearer " + token + "\r\n"
	}
	if _, err := io.WriteString(c, request+"\r\n"); err != nil {
		return nil, err
	}
	in := bufio.NewReader(c)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("answer is %s", response.Status)
	case response.Header.Get("Sec-WebSocket-Accept") != acceptKey(key):
		return nil, fmt.Errorf("answer is to another key")
	case response.Header.Get("Sec-WebSocket-Protocol") != subprotocol:
		return nil, fmt.Errorf("server does not speak %s", subprotocol)
	}
	rest = make([]byte, in.Buffered())
	_, err = io.ReadFull(in, rest)
	return rest, err
}

// acceptKey is the answer to a key.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + handshakeGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}
