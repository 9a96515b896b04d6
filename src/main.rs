//! `migrate`: parse, run, exit. The only place that exits.

use migrate::cli::args::Cli;
use migrate::cli::exit::SIGNAL;
use migrate::{cli, task};

fn main() {
    bound_the_heap();
    let parsed = cli::parse(std::env::args_os());
    let code = match parsed {
        Ok(parsed) => {
            for (name, value) in cli::environment(&parsed) {
                // SAFETY: no other thread exists yet that could read the environment at this moment.
                unsafe { std::env::set_var(name, value) };
            }
            run(parsed)
        }
        Err(code) => code,
    };
    std::process::exit(code)
}

/// One heap, and large buffers are given back at once. Else each thread keeps a heap as large as what it once held,
/// and peaks that never met add up.
fn bound_the_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: called first, before another thread exists; a value that is refused changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

#[tokio::main]
async fn run(parsed: Cli) -> i32 {
    let stop = task::Stop::new();
    tokio::select! {
        code = cli::run(parsed, stop.clone()) => code,
        // Every step can be killed: whoever asks twice need not wait for the checkpoint.
        signal = stop.wait_again() => SIGNAL + signal,
    }
}
