package delivery

// guard calls a hook of the application's. One that panics is reported to Panic
// and costs nothing else; ok is false then.
func (a *Agent) guard(hook func()) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			a.panicked(v)
		}
	}()
	hook()
	return true
}

// panicked tells the application of a panic in one of its hooks.
func (a *Agent) panicked(v any) {
	if a.Panic == nil {
		return
	}
	defer func() { _ = recover() }() // the hook about panics may not panic either
	a.Panic(v)
}
