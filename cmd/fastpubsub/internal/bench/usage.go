package bench

import (
	"math"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/proc"
)

// nodeCPU is the processor time that processes have taken together, in seconds; NaN where the system does not tell.
func nodeCPU(pids []int) float64 {
	sum := 0.0
	for _, pid := range pids {
		d, err := proc.CPU(pid)
		if err != nil {
			return math.NaN()
		}
		sum += d.Seconds()
	}
	return known(sum, len(pids) > 0)
}

// resident is the memory of a process in bytes; NaN where the system does not tell.
func resident(pid int) float64 {
	bytes, err := proc.Resident(pid)
	return known(float64(bytes), err == nil)
}

// largest is the most memory of any of the processes, in bytes; NaN where the system does not tell.
func largest(pids []int) float64 {
	most := 0.0
	for _, pid := range pids {
		most = max(most, resident(pid))
	}
	return known(most, len(pids) > 0)
}

// known is a figure, or NaN if it is not known.
func known(figure float64, ok bool) float64 {
	if !ok {
		return math.NaN()
	}
	return figure
}
