package main

import (
	"errors"
	"syscall"
)

// start is what the program says when it is told nothing.
const start = `FastPubSub delivers small messages across the Internet by the fastest path of the moment. To begin with:

  fastpubsub demo --ws 127.0.0.1:8080    eight cities on this machine; a browser sees them at http://127.0.0.1:8080/
  fastpubsub node                        a node on this machine; it says how others join it
  fastpubsub sub 'x.#'                   print what comes on channels, from the node on this machine
  fastpubsub pub x.y hello               publish
  fastpubsub top                         watch the mesh
  fastpubsub doctor --join HOST:PORT     what keeps a node from its mesh, and what to do

fastpubsub --help lists all commands, fastpubsub COMMAND --help the options of one.
`

// hint says what to do about an error, if that can be told; empty else.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process uses that address: fastpubsub doctor with the same options tells which; --listen and --ws choose others, with port 0 any that is free"
	case errors.Is(err, syscall.EACCES):
		return "this needs rights that the user does not have, as ports below 1024 do"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no interface of this machine has that address: 0.0.0.0 stands for all, and --advertise says what others see"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "no node takes clients there: fastpubsub node starts one, and --url says where another is"
	}
	return ""
}
