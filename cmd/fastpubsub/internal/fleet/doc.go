// Package fleet runs nodes as processes of this very program on this computer, as far apart as an emulated network has them: what drills break and what
// simulations are held against.
package fleet
