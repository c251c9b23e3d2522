package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
)

// Codec turns values of one type into payloads, and back.
type Codec[T any] struct {
	Encode func(T) ([]byte, error)
	Decode func([]byte) (T, error)
}

// JSON is the Codec of package encoding/json.
func JSON[T any]() Codec[T] {
	return Codec[T]{
		Encode: func(v T) ([]byte, error) { return json.Marshal(v) },
		Decode: func(b []byte) (v T, err error) { return v, json.Unmarshal(b, &v) },
	}
}

// DecodeError is a message whose payload a Codec did not take.
type DecodeError struct {
	Message Message
	Err     error
}

// Error says what was wrong with which channel's message.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("client: decode %s: %v", e.Message.Channel, e.Err)
}

// Unwrap is the error of the Codec.
func (e *DecodeError) Unwrap() error { return e.Err }

// Value is a message together with what its payload says.
type Value[T any] struct {
	Message
	Value T
}

// Publish is Client.Publish of a value.
func (k Codec[T]) Publish(ctx context.Context, c *Client, tenant, channel string, v T) error {
	payload, err := k.Encode(v)
	if err != nil {
		return fmt.Errorf("client: encode: %w", err)
	}
	return c.Publish(ctx, tenant, channel, payload)
}

// Values is Subscription.All, decoded. A *DecodeError does not end it.
func (k Codec[T]) Values(ctx context.Context, s *Subscription) iter.Seq2[Value[T], error] {
	return func(yield func(Value[T], error) bool) {
		for m, err := range s.All(ctx) {
			v := Value[T]{Message: m}
			if err == nil {
				if v.Value, err = k.Decode(m.Payload); err != nil {
					err = &DecodeError{Message: m, Err: err}
				}
			}
			if !yield(v, err) {
				return
			}
		}
	}
}
