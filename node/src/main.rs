//! The `enfilade` command. Everything is in the library, so that a change to it does not build the binary's world anew.

/// A node makes and forgets many small things on several threads. This allocator gives the memory of a storm back to the system
/// once it is over; how, is said in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    enfilade_node::main()
}
