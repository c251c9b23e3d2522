// Package scale runs whole meshes of up to thousands of nodes in virtual time, without a goroutine of a node's own: the control plane of real nodes (mesh/core, with latency,
// forward/route and gossip/interest under it) on a model of what surrounds it there: links that open, lose and delay; SWIM with its probes, suspicion, rumours and push/pull;
// frames that queue behind each other. What is random follows from a seed, so a run can be repeated exactly.
//
// A World holds the nodes and the queue of events; Trial puts a mesh of one size through its paces, Storm has many nodes come and go at once, Replay has
// latencies change as measured or made up. What the model costs, in bytes, is counted by what frames take on a real wire.
//
// What it says is believed because a test compares it with real nodes, real QUIC and real SWIM on a simulated network.
package scale
