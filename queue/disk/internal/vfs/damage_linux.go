package vfs

import "syscall"

// damageErrors: ENODATA and EILSEQ come from the device, the others from file
// systems.
func damageErrors() []error {
	return []error{syscall.ENODATA, syscall.EILSEQ, syscall.EUCLEAN, syscall.EBADMSG}
}
