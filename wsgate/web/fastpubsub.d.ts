/** Types of fastpubsub.js. */

export type Mode = 'broadcast' | 'deliver-one-low-latency' | 'deliver-one-random'
export type Status = 'idle' | 'connecting' | 'open' | 'moving' | 'lost' | 'closed'
export type Payload = string | ArrayBuffer | ArrayBufferView
export type Handler = (message: Message) => void

export interface ClientOptions {
  /** The WebSocket endpoint of a node, such as wss://node.example.org/ws. In a page it may be relative; default then "/ws". */
  url?: string
  /** Several of them, to choose the nearest from. */
  urls?: readonly string[]
  /** Where the nodes are listed, such as https://node.example.org/v1/bootstrap; `url` and `urls` are added to the list. */
  bootstrap?: string
  /** AT_<id>_<secret> */
  token?: string
  /** An implementation of WebSocket; default the global one. */
  WebSocket?: new (url: string, protocols: string[]) => any
  /** An implementation of fetch; default the global one. */
  fetch?: (url: string, init?: any) => Promise<any>
  /** Bound on publications that wait; default 256 KiB. */
  queueBytes?: number
  /** A connection with so much to send takes no publication; default 64 KiB. */
  bufferedBytes?: number
  /** Bound on messages that wait for an iteration, per subscription; default 1 MiB. */
  iterationBytes?: number
  /** Between PINGs; default 5,000 ms. */
  pingMs?: number
  /** Silence after a PING that means the connection is dead; default 10,000 ms. */
  pongMs?: number
  /** Between looks for a nearer node, on average; default 60,000 ms. */
  measureMs?: number
}

export interface PublishOptions {
  /** Default "~". */
  tenant?: string
  /** Default "broadcast". */
  mode?: Mode
}

export interface Stats {
  /** Connections that became active. */
  readonly connected: number
  /** Those of them that replaced one that still worked. */
  readonly moved: number
  /** Publications dropped because too many waited. */
  readonly dropped: number
  /** Second copies of messages, not given to the application. */
  readonly duplicates: number
  /** Frames of the server that could not be read. */
  readonly malformed: number
}

export interface Events {
  /** The new status. */
  status: Status
  /** An ERR line of the server, an attempt to connect that failed (code "connect_failed"), or a malformed frame ("bad_delivery"). */
  error: FastPubSubError
  /** The server drops messages because this client reads too slowly: how many so far on this connection. */
  slow: number
  /** A measured round trip to the node, in ms. */
  rtt: number
}

export class Client {
  constructor(options?: ClientOptions)
  readonly status: Status
  /** The node in use. */
  readonly url: string | undefined
  /** The last round trip to the node, in ms. */
  readonly rtt: number | undefined
  readonly stats: Stats
  /** Bytes of publications that wait to be sent. */
  readonly queuedBytes: number
  /** Listens to an event; the result ends that. */
  on<E extends keyof Events>(event: E, listener: (value: Events[E]) => void): () => void
  /** Resolves once connected. There is no need to call it. */
  connect(): Promise<void>
  /** Throws a FastPubSubError on an invalid name. Without a handler, iterate over the result. */
  subscribe(pattern: string, handler?: Handler): Subscription
  subscribe(tenant: string, pattern: string, handler?: Handler): Subscription
  /**
   * Resolves when the message is handed to a connection that has not too much to send already. While there is none messages
   * wait, up to a bound; beyond it the oldest are dropped, counted, and their promises rejected with code "dropped".
   */
  publish(channel: string, payload: Payload, options?: PublishOptions): Promise<void>
  /** Measures the round trip to the node, in ms. */
  ping(): Promise<number>
  close(): void
}

export class Subscription implements AsyncIterable<Message> {
  private constructor()
  readonly tenant: string
  readonly pattern: string
  /** Resolves when the server has accepted it; rejects if it refuses, or the subscription ends before. */
  readonly ready: Promise<void>
  /** Resolves when all nodes know of it. Servers that do not tell leave it pending. */
  readonly everywhere: Promise<void>
  /** Messages dropped, oldest first, because the iteration was too slow. */
  readonly dropped: number
  unsubscribe(): void
  /** Yields messages until the subscription ends; throws if the server refuses it. To leave the loop unsubscribes. */
  [Symbol.asyncIterator](): AsyncGenerator<Message, void, void>
}

export class Message {
  constructor(tenant: string, channel: string, payload: Uint8Array, patterns: string[])
  readonly tenant: string
  readonly channel: string
  readonly payload: Uint8Array
  /** The patterns of this client that match. */
  readonly patterns: readonly string[]
  /** The payload as text; what is not UTF-8 becomes U+FFFD. */
  readonly text: string
  /** The payload read as JSON; throws if it is none. */
  json(): any
}

/** What went wrong. Errors of the server carry its code. */
export class FastPubSubError extends Error {
  constructor(code: string, detail?: string)
  readonly code: string
  readonly detail: string
}

/** The tenant that a name means, "~" for none. These three throw a FastPubSubError on an invalid name. */
export function checkTenant(tenant?: string): string
export function checkChannel(channel: string): string
export function checkPattern(pattern: string): string
/** Tells whether a valid pattern matches a valid channel. */
export function matches(pattern: string, channel: string): boolean

/** The binary message that publishes. */
export function encodePublish(channel: string, payload: Payload, options?: PublishOptions): Uint8Array
/** Reads a delivery. Throws a FastPubSubError with code bad_delivery. */
export function decodeDelivery(buffer: ArrayBuffer): Message

/** The delay before attempt n, counted from 0, in ms. */
export function reconnectDelay(n: number): number
/** Tells whether a round trip is so much shorter that moving pays. */
export function isNearer(other: number, present: number): boolean
/** Finds the second copies among what overlapping connections bring. */
export class Overlap {
  isDuplicate(link: object, key: string, at: number): boolean
}
