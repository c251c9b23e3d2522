// Package top shows what a mesh does, live in a terminal or as plain tables: nodes, links, and what happens.
//
// It lives of what every node tells on its reserved channel (package mesh/report), by the WebSocket of one of them. Each row is a node's own word: a link has two
// rows, one by either end, and may look different from there.
//
// # Ownership
//
// The feed is one goroutine that connects, again and again where it must, and hands on what it hears. A Mesh is what has been heard; whoever shows it owns it: the
// terminal's model, or the loop that prints tables. Nothing is shared.
//
// # Bounds
//
// At most nodesMost nodes and eventsMost events are kept. A node that is silent for three of its intervals and two seconds more is stale, and is forgotten a minute later.
//
// # Invariants
//
//  1. No text of a peer reaches a terminal, or JSON, before clean has seen it.
//  2. A line is never wider than the terminal.
//  3. Run returns when its goroutine has ended.
package top
