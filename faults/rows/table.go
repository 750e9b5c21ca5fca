package rows

import "slices"

// Table returns all rows, in the order in which they run.
func Table() []Row {
	return slices.Concat(processes(), storms(), network(), redis(), loss(), disks(), redisStates(), failovers(), rights(), clients(), pressures(), seen(), clocks())
}
