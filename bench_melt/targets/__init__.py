"""What executes a firmware: a process, an emulator, a board on a serial port."""
