//! A server under a supervisor that outlives the test process just long enough to end the server.
//!
//! The supervisor is a small `sh` in a process group of its own, so Ctrl-C does not reach it. It obeys lines on its
//! stdin, a pipe whose only write end is ours. When we die, however we die, it reads the end of the file, kills the
//! server by its pid, and removes the server's directory.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const START_LIMIT: Duration = Duration::from_secs(60);

/// `$1` is the directory, the rest is the server's command line.
const SUPERVISOR: &str = r#"
trap '' PIPE
dir=$1; shift; pid=
while read -r verb rest; do
  case $verb in
    start) "$@" </dev/null >>"$dir/log" 2>&1 & pid=$!; echo "$pid" ;;
    signal) kill $rest 2>/dev/null; echo "$?" ;;
    reap) wait "$pid" 2>/dev/null; echo "$?"; pid= ;;
  esac
done
if [ -n "$pid" ]; then
  kill -CONT "$pid"; kill -QUIT "$pid"; n=0
  while kill -0 "$pid" && [ $n -lt 250 ]; do sleep 0.02; n=$((n+1)); done
  kill -0 "$pid" && kill -KILL "$pid"
fi 2>/dev/null
# PostgreSQL that was killed leaves a System V segment; its lock file names it.
segment=$(sed -n '7s/.* //p' "$dir/data/postmaster.pid" 2>/dev/null)
[ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
# A server that crashed by itself: its last words stay.
if grep -qE 'got signal|InnoDB: .*(corrupt|fatal|Assertion)' "$dir/log" 2>/dev/null; then
  tail -n 400 "$dir/log" >"${TMPDIR:-/tmp}/migrate-crashed-$$.log"
fi
n=0
while ! rm -rf "$dir" 2>/dev/null && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
"#;

/// Who a server runs as: another user when we are root (PostgreSQL refuses root), else ourselves.
#[derive(Debug, Clone, Copy)]
pub struct User(Option<(u32, u32)>);

impl User {
    pub fn for_servers() -> Self {
        if fs::metadata("/proc/self").map(|m| m.uid()).unwrap_or(1) != 0 {
            return Self(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
        let ids = |name: &str| {
            let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2).map(|n| n.parse().ok());
            Some((fields.next()??, fields.next()??))
        };
        Self(Some(ids("postgres").or_else(|| ids("nobody")).expect("a user postgres or nobody")))
    }

    /// Are the servers another user's than the tests?
    pub fn is_other(self) -> bool {
        self.0.is_some()
    }

    /// Gives a file or directory to this user.
    pub fn owns(self, path: &Path) {
        if let Some((uid, gid)) = self.0 {
            chown(path, Some(uid), Some(gid)).unwrap_or_else(|e| panic!("cannot chown {}: {e}", path.display()));
        }
    }

    /// A command that runs as this user, away from directories that the user may not enter.
    pub fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Some((uid, gid)) = self.0 {
            command.gid(gid).uid(uid).env("HOME", "/");
        }
        command
    }

    /// The binary itself, or a copy in `dir` if this user cannot reach it (a checkout below /root).
    pub fn reachable(self, binary: PathBuf, dir: &Path) -> PathBuf {
        let open = |p: &Path| fs::metadata(p).is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
        if self.0.is_none() || binary.ancestors().all(open) {
            return binary;
        }
        let copy = dir.join("server");
        fs::copy(&binary, &copy).expect("copy the server's binary");
        self.owns(&copy);
        copy
    }
}

/// Where there is so much room, a test binary's servers may keep their data in memory.
const MEMORY: &str = "/dev/shm";
const MEMORY_KIB: u64 = 4 << 20;
static IN_MEMORY: AtomicBool = AtomicBool::new(false);

/// From now on: no server waits for a disk. For tests that make very many tables, and that prove nothing about crashes.
pub fn keep_in_memory() {
    let out = Command::new("df").args(["--output=avail", "-k", MEMORY]).output();
    let avail = out.ok().and_then(|o| String::from_utf8_lossy(&o.stdout).lines().last()?.trim().parse::<u64>().ok());
    IN_MEMORY.store(avail.is_some_and(|kib| kib > MEMORY_KIB), Ordering::Relaxed);
}

/// A fresh directory; it goes when it is dropped.
pub fn scratch(name: &str) -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    let prefix = format!("migrate-{name}-");
    builder.prefix(&prefix);
    let made = if IN_MEMORY.load(Ordering::Relaxed) { builder.tempdir_in(MEMORY) } else { builder.tempdir() };
    made.expect("a temporary directory")
}

/// The same, which only the server's user (and root) can read.
pub fn temporary_dir(name: &str, user: User) -> tempfile::TempDir {
    let dir = scratch(name);
    user.owns(dir.path());
    dir
}

/// The same for a server, whose supervisor will remove it.
pub fn private_dir(name: &str, user: User) -> PathBuf {
    temporary_dir(name, user).keep()
}

/// A port that is free now, below the range from which the system takes ports for outgoing connections: so nobody
/// takes it by chance between a server's death and its restart.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

pub fn missing(what: &str) -> ! {
    panic!("{what} is missing: run tests/run, which installs it")
}

/// Runs a set-up command to its end; panics with what it said.
pub fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().unwrap_or_else(|e| panic!("cannot run {name}: {e}: run tests/run, which installs it"));
    assert!(
        out.status.success(),
        "{name} failed:\n{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// One server process, restartable in place; dropping it ends the process and removes its directory.
pub struct Server {
    name: &'static str,
    dir: PathBuf,
    pid: Option<u32>,
    supervisor: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    log_start: usize,
}

impl Server {
    /// The supervisor only; `start` starts the server. It takes over `dir`.
    pub fn new(name: &'static str, user: User, dir: PathBuf, argv: &[String]) -> Self {
        let mut supervisor = user
            .command("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(&dir)
            .args(argv)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start sh");
        let orders = supervisor.stdin.take();
        let answers = BufReader::new(supervisor.stdout.take().expect("stdout is piped"));
        Self { name, dir, pid: None, supervisor, orders, answers, log_start: 0 }
    }

    fn order(&mut self, line: &str) -> String {
        let orders = self.orders.as_mut().expect("open until drop");
        writeln!(orders, "{line}").expect("the supervisor lives");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the supervisor answers");
        answer.trim().to_string()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What the server has written since its last start.
    pub fn new_log(&self) -> String {
        let bytes = fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.log_start..).unwrap_or_default()).into_owned()
    }

    /// Starts the process and waits until `ready` says yes; the error holds the end of the server's log.
    pub fn start(&mut self, mut ready: impl FnMut(&Self) -> bool) -> Result<(), String> {
        assert!(self.pid.is_none(), "{} already runs", self.name);
        self.log_start = fs::metadata(self.dir.join("log")).map(|m| m.len() as usize).unwrap_or(0);
        self.pid = Some(self.order("start").parse().expect("the server's pid"));
        let begun = Instant::now();
        while begun.elapsed() < START_LIMIT {
            if ready(self) {
                return Ok(());
            }
            if !self.alive() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end("KILL");
        let log = self.new_log();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Err(format!("{} did not start within {START_LIMIT:?}; its log ends:\n{}", self.name, tail.join("\n")))
    }

    /// False also for a dead process that its supervisor has not reaped yet.
    pub fn alive(&self) -> bool {
        self.pid.is_some_and(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
        })
    }

    /// Sends a signal, without waiting.
    pub fn signal(&mut self, signal: &str) {
        if let Some(pid) = self.pid {
            self.order(&format!("signal -{signal} {pid}"));
        }
    }

    /// Sends a signal and waits until the process is gone.
    pub fn end(&mut self, signal: &str) {
        if self.pid.is_some() {
            self.signal(signal);
            self.signal("CONT"); // a paused one would never see it
            self.order("reap");
            self.pid = None;
        }
    }

    /// SIGKILL for the process and its children, as a power cut would: none of them does another thing.
    pub fn kill9(&mut self) {
        let Some(pid) = self.pid else { return };
        self.signal("STOP"); // no new children while we look
        let children = children_of(pid);
        let all: String = children.iter().map(|pid| format!(" {pid}")).collect();
        self.order(&format!("signal -KILL {pid}{all}"));
        self.order("reap");
        self.pid = None;
        let begun = Instant::now();
        while children.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            assert!(begun.elapsed() < START_LIMIT, "children of {} outlive SIGKILL", self.name);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.orders = None; // the supervisor cleans up, as it would if we had died
        let _ = self.supervisor.wait();
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let ppid = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        ppid == Some(parent)
    })
    .collect()
}
