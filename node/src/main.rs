//! The `enfilade` command. Everything is in the library, so that a change to it does not build the binary's world anew.

fn main() -> std::process::ExitCode {
    enfilade_node::main()
}
