package master

import "golang.org/x/sys/windows"

// errRefused is how the system says that nobody listens.
var errRefused error = windows.WSAECONNREFUSED
