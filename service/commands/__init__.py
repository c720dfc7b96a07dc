"""What `coding-assist COMMAND` does; each module is imported only for a command of its own."""

HOST, PORT = "127.0.0.1", 8080
