package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// connectTime bounds how long a command waits for its node.
const connectTime = 10 * time.Second

// connection is what pub and sub share.
type connection struct {
	URL    string `name:"url" default:"ws://127.0.0.1:8080/ws" help:"WebSocket address of a node." placeholder:"URL"`
	Token  string `help:"Access token." placeholder:"AT_..."`
	Tenant string `default:"~" help:"Tenant of the channels."`
}

func (c *connection) dial(ctx context.Context, cfg client.Config) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	cfg.URL, cfg.Token = c.URL, c.Token
	return client.Dial(ctx, cfg)
}

// pubCommand publishes.
type pubCommand struct {
	connection `embed:""`
	Channel    string  `arg:"" help:"Channel to publish to."`
	Message    *string `arg:"" optional:"" help:"The message. Without it each line of standard input is one."`
	Mode       string  `default:"broadcast" enum:"broadcast,deliver-one-low-latency,deliver-one-random" help:"Who gets each message: all subscribers, or one (${enum})."`
	JSON       bool    `name:"json" help:"Print what was published as JSON."`
}

// Run publishes and returns when the node has taken everything.
func (c *pubCommand) Run(ctx context.Context, std streams) error {
	tenant, err := channel.NormalizeTenant(c.Tenant)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err := channel.ValidateChannel(c.Channel); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	mode, err := channel.ParseMode(c.Mode)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	refused := make(chan error, 1)
	conn, err := c.dial(ctx, client.Config{OnError: func(err error) {
		select {
		case refused <- err:
		default:
		}
	}})
	if err != nil {
		return err
	}
	defer conn.Close()
	messages, bytes, err := publishAll(c.Message, std.in, func(payload []byte) error {
		return conn.Send(ctx, channel.Message{Tenant: tenant, Channel: c.Channel, Mode: mode, Payload: payload})
	})
	if err == nil {
		// The answer to a ping comes after the node has dealt with all that was sent before.
		_, err = conn.Ping(ctx)
	}
	select {
	case err = <-refused:
	default:
	}
	if err != nil {
		return fmt.Errorf("after %d messages: %w", messages, err)
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(map[string]any{"tenant": tenant, "channel": c.Channel, "messages": messages, "bytes": bytes})
	}
	return nil
}

// publishAll publishes the message, or else each line of the input.
func publishAll(message *string, in io.Reader, publish func(payload []byte) error) (messages, bytes int, err error) {
	if message != nil {
		return 1, len(*message), publish([]byte(*message))
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, channel.MaxPayloadLen+2)
	for lines.Scan() {
		if err := publish(lines.Bytes()); err != nil {
			return messages, bytes, err
		}
		messages++
		bytes += len(lines.Bytes())
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return messages, bytes, fmt.Errorf("line %d is over %d bytes", messages+1, channel.MaxPayloadLen)
	}
	return messages, bytes, lines.Err()
}

// subCommand subscribes.
type subCommand struct {
	connection `embed:""`
	Patterns   []string      `arg:"" help:"Patterns to subscribe to, such as a.b, a.*, a.b* or a.#."`
	JSON       bool          `name:"json" help:"Print one JSON object a message."`
	Count      int           `short:"n" help:"End after so many messages."`
	Timeout    time.Duration `help:"Fail if --count messages have not come in this time." placeholder:"TIME"`
}

// Run prints messages until the context ends or there were enough.
func (c *subCommand) Run(ctx context.Context, std streams) error {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	conn, err := c.dial(ctx, client.Config{Reconnect: true, OnError: func(err error) { fmt.Fprintln(std.err, "fastpubsub:", err) }})
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, p := range c.Patterns {
		if err := conn.Subscribe(ctx, c.Tenant, p); err != nil {
			return fmt.Errorf("subscribe %q: %w", p, err)
		}
	}
	for n := 0; c.Count == 0 || n < c.Count; n++ {
		m, err := conn.Receive(ctx)
		if errors.Is(err, context.Canceled) {
			return nil // Ctrl-C is how one ends it
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%d of %d messages came in %v", n, c.Count, c.Timeout)
		}
		if err == nil {
			err = c.print(std.out, m)
		}
		if errors.Is(err, os.ErrClosed) || err != nil {
			return err
		}
	}
	return nil
}

// print writes one message: its channel and payload, or all of it as JSON.
func (c *subCommand) print(out io.Writer, m client.Message) error {
	if !c.JSON {
		_, err := fmt.Fprintf(out, "%s %s\n", m.Channel, m.Payload)
		return err
	}
	v := map[string]any{"tenant": m.Tenant, "channel": m.Channel, "patterns": m.Patterns}
	if utf8.Valid(m.Payload) {
		v["payload"] = string(m.Payload)
	} else {
		v["payload_base64"] = base64.StdEncoding.EncodeToString(m.Payload)
	}
	return json.NewEncoder(out).Encode(v)
}
