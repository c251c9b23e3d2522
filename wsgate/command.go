package wsgate

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// handle does what one message of the client asks, but for publications that may wait in s.pending for others of the same channel. msg is valid
// until publishPending has returned.
func (s *session) handle(ctx context.Context, kind websocket.MessageType, msg []byte) {
	s.server.counts.bytesIn.Add(uint64(len(msg)))
	if s.box.ending.Load() {
		return // RFC 6455, section 7.1.6: data after our close frame may go unheard
	}
	if kind == websocket.MessageBinary {
		s.handleBinary(ctx, msg)
		return
	}
	s.publishPending(ctx)
	switch {
	case !utf8.Valid(msg):
		s.box.shut(closeProtocol)
	case len(msg) > 0 && msg[0] == '{':
		s.subscriber.json.Store(true)
		c, err := parseJSON(msg)
		s.handleCommand(ctx, c, err)
	default:
		c, err := parseLine(string(msg))
		s.handleCommand(ctx, c, err)
	}
}

// handleBinary publishes a binary message.
func (s *session) handleBinary(ctx context.Context, msg []byte) {
	p, err := parsePublish(msg)
	if err == nil {
		err = s.publishFrame(ctx, p)
	} else {
		s.badFrames++
	}
	if err != nil {
		s.publishPending(ctx)
		s.refuse(ctx, err, nil)
	}
	if s.badFrames >= s.server.rules.Load().limits.BadFrames {
		s.box.shut(closePolicy)
	}
}

// publishFrame publishes what came in a binary message, now or in publishPending.
func (s *session) publishFrame(ctx context.Context, p publication) error {
	// Comparing makes no strings of the bytes.
	if s.channel == "" || string(p.tenant) != s.written || string(p.channel) != s.channel {
		s.publishPending(ctx)
		written, name := string(p.tenant), string(p.channel)
		tenant, err := s.publishable(written, name)
		if err != nil {
			return err
		}
		s.tenant, s.channel, s.written = tenant, name, written
	}
	if err := s.afford(s.tenant, s.channel, p.payload); err != nil {
		return err
	}
	if p.mode == channel.Broadcast && len(p.payload) <= channel.MaxPayloadLen {
		s.gather(ctx, p.payload)
		return nil
	}
	s.publishPending(ctx)
	return s.publish(ctx, channel.Message{Tenant: s.tenant, Channel: s.channel, Mode: p.mode, Payload: p.payload})
}

// publishable returns the tenant in normal form if the names are valid and the client may publish there.
func (s *session) publishable(tenant, name string) (string, error) {
	tenant, err := channel.NormalizeTenant(tenant)
	if err != nil {
		return "", err
	}
	if err := channel.ValidateChannel(name); err != nil {
		return "", err
	}
	if !s.pass.MayPublish(tenant, name) {
		return "", fault{code: codePermissionDenied}
	}
	return tenant, nil
}

// afford takes a publication from the budgets of the session. One that is too large costs nothing: it is refused for that.
func (s *session) afford(tenant, name string, payload []byte) error {
	s.heed()
	if len(payload) <= channel.MaxPayloadLen && !s.credits.take(len(tenant)+len(name)+len(payload)) {
		return errTooFast
	}
	return nil
}

// pending is broadcast messages of one channel that came together, and so can travel together. What did not come yet is never waited for.
type pending struct {
	count int
	first []byte         // payload of the first, which lies in the intake
	batch *channel.Batch // of all, if there are several
}

// gather adds a message for the session's present channel to those pending.
func (s *session) gather(ctx context.Context, payload []byte) {
	p := &s.pending
	switch {
	case p.count == 0:
	case p.batch == nil:
		batch := s.server.bundles.Get().(*channel.Batch)
		if batch.Add(p.first) && batch.Add(payload) {
			p.batch, p.count = batch, 2
			return
		}
		s.giveBack(batch)
		s.publishPending(ctx)
	case p.batch.Add(payload):
		p.count++
		return
	default:
		s.publishPending(ctx)
	}
	p.first, p.count = payload, 1
}

// publishPending publishes what is pending, and reports what comes of it.
func (s *session) publishPending(ctx context.Context) {
	p := s.pending
	if p.count == 0 {
		return
	}
	s.pending = pending{}
	m := channel.Message{Tenant: s.tenant, Channel: s.channel, Payload: p.first}
	if p.batch != nil {
		m.Batch, m.Payload = true, p.batch.Payload()
		defer s.giveBack(p.batch)
	}
	if err := s.publish(ctx, m); err != nil {
		s.refuse(ctx, err, nil)
	}
}

func (s *session) giveBack(batch *channel.Batch) {
	batch.Reset()
	s.server.bundles.Put(batch)
}

// publish hands a message with valid names to the Broker, and takes as long as that does: meanwhile the client is not
// read from, which is how the overlay pushes back.
func (s *session) publish(ctx context.Context, m channel.Message) error {
	if n := len(m.Payload); n > channel.MaxPayloadLen {
		return fault{codePayloadTooLarge, fmt.Sprintf("%d bytes, limit %d", n, channel.MaxPayloadLen)}
	}
	if err := s.server.broker.Publish(ctx, m); err != nil {
		return err
	}
	s.published += uint64(m.Count())
	s.server.counts.messagesIn.Add(uint64(m.Count()))
	return nil
}

// handleCommand does what a parsed text message asks, or reports why it could not be parsed.
func (s *session) handleCommand(ctx context.Context, c command, err error) {
	if err == nil {
		switch c.verb {
		case verbSubscribe:
			if err = s.paced(ctx); err == nil {
				err = s.subscribe(ctx, c)
			}
		case verbUnsubscribe:
			if err = s.paced(ctx); err == nil {
				err = s.unsubscribe(ctx, c)
			}
		case verbPublish:
			err = s.publishCommand(ctx, c)
		case verbPing:
			s.answer(ctx, reply{event: eventPong, id: c.id})
		default:
			panic("wsgate: command without a verb")
		}
	}
	if err != nil {
		s.refuse(ctx, err, c.id)
	}
}

func (s *session) subscribe(ctx context.Context, c command) error {
	tenant, pattern, err := parseNames(c)
	if err != nil {
		return err
	}
	if !s.pass.MaySubscribe(tenant, pattern) {
		return fault{code: codePermissionDenied}
	}
	// From the moment the Hub knows of the subscription deliveries may come for it: hold them until the reply is queued.
	s.box.cork()
	defer s.box.uncork()
	again := s.share != nil && s.server.hub.holds(&s.subscriber, tenant, pattern) // which is none more
	limits := &s.server.rules.Load().limits
	if !again && !s.share.reserve(limits.TokenSubscriptions) {
		return fault{codeLimitExceeded, fmt.Sprintf("%d subscriptions with this token", limits.TokenSubscriptions)}
	}
	in := s.server.hub.subscribe(&s.subscriber, tenant, pattern, limits.Subscriptions)
	if in == nil {
		s.share.release(1)
		return fault{codeLimitExceeded, fmt.Sprintf("%d subscriptions", limits.Subscriptions)}
	}
	s.server.hub.setPolicy(s.subscriber.held[in], c.policy)
	var told atomic.Int32 // that it has spread, and that it is accepted: the client hears of the first after the second
	tell := func() {
		if told.Add(1) == 2 { // there is no hurry: without room for it the client is not told
			s.readies.Add(-1)
			_, _ = s.box.offer(s.encode(reply{event: eventReady, tenant: tenant, name: pattern.String(), id: c.id}))
		}
	}
	var settled func()
	if s.readies.Add(1) <= maxReadies {
		settled = func() { s.server.broker.AfterSpread(tell) }
	} else {
		s.readies.Add(-1)
	}
	s.server.hub.settle(in, s.server.broker.SetInterest, settled)
	s.answer(ctx, reply{event: eventSubscribed, tenant: tenant, name: pattern.String(), id: c.id})
	tell()
	return nil
}

func (s *session) unsubscribe(ctx context.Context, c command) error {
	tenant, pattern, err := parseNames(c)
	if err != nil {
		return err
	}
	if in := s.server.hub.unsubscribe(&s.subscriber, tenant, pattern); in != nil {
		s.share.release(1)
		s.server.hub.settle(in, s.server.broker.SetInterest, nil)
	}
	s.answer(ctx, reply{event: eventUnsubscribed, tenant: tenant, name: pattern.String(), id: c.id})
	return nil
}

// parseNames reads the tenant and the pattern of a command.
func parseNames(c command) (string, channel.Pattern, error) {
	tenant, err := channel.NormalizeTenant(c.tenant)
	if err != nil {
		return "", channel.Pattern{}, err
	}
	pattern, err := channel.ParsePattern(c.name)
	return tenant, pattern, err
}

func (s *session) publishCommand(ctx context.Context, c command) error {
	tenant, err := s.publishable(c.tenant, c.name)
	if err != nil {
		return err
	}
	if err := s.afford(tenant, c.name, c.payload); err != nil {
		return err
	}
	if err := s.publish(ctx, channel.Message{Tenant: tenant, Channel: c.name, Mode: c.mode, Payload: c.payload}); err != nil {
		return err
	}
	s.answer(ctx, reply{event: eventPublished, id: c.id})
	return nil
}

// refuse tells the client why its message came to nothing.
func (s *session) refuse(ctx context.Context, err error, id []byte) {
	if ctx.Err() != nil {
		return // the server stops, which the client is told in another way
	}
	if errors.Is(err, errTooFast) {
		s.refuseFast(ctx, id)
		return
	}
	f := faultOf(err)
	s.server.counts.errors[f.code].Add(1)
	s.answer(ctx, reply{event: eventError, fault: f, id: id})
}

// answer queues a reply. It waits while too many wait, so a client that does not read its answers is not read from.
func (s *session) answer(ctx context.Context, r reply) {
	if frame := s.encode(r); frame != nil {
		// An error means that the connection is ending.
		_ = s.box.reply(ctx, frame)
	}
}
