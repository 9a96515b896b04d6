//! Private NATS servers with JetStream, in the two versions that must both work.

use super::process::{Server, User, free_port, missing, private_dir, run};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatsVersion {
    /// Debian's package: 2.9 on Debian 12.
    Debian,
    /// A current one, which `tests/run` puts into `.tools/`.
    Current,
}

#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    pub max_payload: Option<u64>,
    /// User and password.
    pub user: Option<(String, String)>,
    pub token: Option<String>,
    pub tls: bool,
    /// With `tls`: clients must show a certificate too.
    pub tls_verify: bool,
    /// How much JetStream may keep on disk: to see a full one.
    pub max_file_store: Option<u64>,
    /// Further lines for the configuration file.
    pub config: String,
}

pub struct Nats {
    server: Server,
    port: u16,
    options: NatsOptions,
}

impl Nats {
    pub fn start(version: NatsVersion) -> Nats {
        Self::start_with(version, NatsOptions::default())
    }

    pub fn start_with(version: NatsVersion, options: NatsOptions) -> Nats {
        let user = User::for_servers();
        let mut error = String::new();
        for _ in 0..3 {
            let (dir, port) = (private_dir("nats", user), free_port());
            let binary = user.reachable(binary(version), &dir);
            if options.tls {
                make_certificates(&dir, user);
            }
            let config = dir.join("nats.conf");
            fs::write(&config, configuration(&dir, port, &options)).expect("write nats.conf");
            user.owns(&config);
            let argv = [binary.display().to_string(), "-c".into(), config.display().to_string()];
            let mut server = Server::new("NATS", user, dir, &argv);
            match server.start(is_ready) {
                Ok(()) => return Nats { server, port, options },
                Err(e) => error = e, // perhaps another process took the port: try another one
            }
        }
        panic!("{error}")
    }

    /// With the user and password, or the token (`nats://TOKEN@...`), in it, as NATS's own tools read it. async-nats
    /// 0.51 ignores credentials in a URL: whoever connects must hand them over in its `ConnectOptions`.
    pub fn url(&self) -> String {
        match (&self.options.user, &self.options.token) {
            (Some((user, password)), _) => self.url_as(&format!("{user}:{password}@")),
            (None, Some(token)) => self.url_as(&format!("{token}@")),
            (None, None) => self.bare_url(),
        }
    }

    /// Without any credentials.
    pub fn bare_url(&self) -> String {
        self.url_as("")
    }

    /// A test's own connection, with all that this server asks for.
    pub async fn connect(&self) -> async_nats::Client {
        let mut options = async_nats::ConnectOptions::new();
        match (self.options.user.clone(), self.options.token.clone()) {
            (Some((user, password)), _) => options = options.user_and_password(user, password),
            (None, Some(token)) => options = options.token(token),
            (None, None) => {}
        }
        if self.options.tls {
            let (cert, key) = self.client_certificate();
            options = options.add_root_certificates(self.ca_file()).add_client_certificate(cert, key);
        }
        options.connect(self.bare_url()).await.unwrap_or_else(|e| panic!("cannot connect to {}: {e}", self.bare_url()))
    }

    fn url_as(&self, who: &str) -> String {
        let scheme = if self.options.tls { "tls" } else { "nats" };
        format!("{scheme}://{who}127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    pub fn dir(&self) -> &Path {
        self.server.dir()
    }

    pub fn log(&self) -> String {
        self.server.log()
    }

    pub fn store_dir(&self) -> PathBuf {
        self.server.dir().join("store")
    }

    /// The authority that signed the server's certificate (with `tls`).
    pub fn ca_file(&self) -> PathBuf {
        self.server.dir().join("ca.pem")
    }

    /// A client's certificate and key, signed by the same authority.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        (self.server.dir().join("client.pem"), self.server.dir().join("client.key"))
    }

    pub fn kill9(&mut self) {
        self.server.kill9();
    }

    /// An orderly shutdown.
    pub fn stop(&mut self) {
        self.server.end("TERM");
    }

    /// A hung server: it keeps its connections and answers nothing, until `resume`.
    pub fn pause(&mut self) {
        self.server.signal("STOP");
    }

    pub fn resume(&mut self) {
        self.server.signal("CONT");
    }

    /// Starts it again on the same port, after `kill9` or `stop`, or stops it first.
    pub fn restart(&mut self) {
        self.stop();
        self.server.start(is_ready).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Loses everything: stops, deletes the store, starts again on the same port.
    pub fn wipe(&mut self) {
        self.stop();
        fs::remove_dir_all(self.store_dir()).expect("delete the store");
        self.restart();
    }
}

fn binary(version: NatsVersion) -> PathBuf {
    let (path, what) = match version {
        NatsVersion::Debian => (PathBuf::from("/usr/sbin/nats-server"), "Debian's nats-server"),
        NatsVersion::Current => {
            (Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/nats/bin/nats-server"), "the current nats-server")
        }
    };
    if path.exists() { path } else { missing(&format!("{what} ({})", path.display())) }
}

fn configuration(dir: &Path, port: u16, options: &NatsOptions) -> String {
    let dir = dir.display();
    let mut conf = format!("listen: \"127.0.0.1:{port}\"\njetstream {{\n  store_dir: \"{dir}/store\"\n");
    if let Some(bytes) = options.max_file_store {
        conf += &format!("  max_file_store: {bytes}\n");
    }
    conf += "}\n";
    if let Some(bytes) = options.max_payload {
        conf += &format!("max_payload: {bytes}\n");
    }
    if let Some((user, password)) = &options.user {
        conf += &format!("authorization {{ user: \"{user}\", password: \"{password}\" }}\n");
    } else if let Some(token) = &options.token {
        conf += &format!("authorization {{ token: \"{token}\" }}\n");
    }
    if options.tls {
        let verify = options.tls_verify;
        conf += &format!(
            "tls {{ cert_file: \"{dir}/server.pem\", key_file: \"{dir}/server.key\", \
             ca_file: \"{dir}/ca.pem\", verify: {verify} }}\n"
        );
    }
    conf + &options.config + "\n"
}

/// An authority, and certificates of it for the server and a client.
fn make_certificates(dir: &Path, user: User) {
    let openssl = |args: &str| {
        run(user.command("openssl").current_dir(dir).args(args.split(' ')));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=test-authority -days 2"));
    for (name, usage) in [("server", "serverAuth"), ("client", "clientAuth")] {
        let extensions = format!("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage={usage}\n");
        let file = dir.join(format!("{name}.ext"));
        fs::write(&file, extensions).expect("write");
        user.owns(&file);
        openssl(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.pem"
        ));
    }
}

fn is_ready(server: &Server) -> bool {
    server.new_log().contains("Server is ready")
}
