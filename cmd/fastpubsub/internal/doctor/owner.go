package doctor

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is one that has a port.
type process struct {
	id   int
	name string // of its program
}

// String is how people know it.
func (p process) String() string { return fmt.Sprintf("%s (process %d)", p.name, p.id) }

// node reports whether it runs this program.
func (p process) node() bool {
	self, err := os.Executable()
	return err == nil && p.name == filepath.Base(self)
}

// holders are the inodes of the sockets that hold a port, in a table as /proc/net/udp and /proc/net/tcp: of TCP those that listen.
func holders(table io.Reader, port uint16, listening bool) (inodes []uint64) {
	const listen = "0A"
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := bytes.Fields(lines.Bytes()) // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...
		if len(fields) < 10 || listening && string(fields[3]) != listen {
			continue
		}
		_, hex, found := strings.Cut(string(fields[1]), ":")
		number, err1 := strconv.ParseUint(hex, 16, 16)
		inode, err2 := strconv.ParseUint(string(fields[9]), 10, 64)
		if found && err1 == nil && err2 == nil && uint16(number) == port {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}
