//! The command line: demo, up and the client commands.
