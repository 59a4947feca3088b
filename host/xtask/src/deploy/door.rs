//! The front door's configuration, as nginx itself reads it: the files of `deploy/nginx` in a folder of their own, with what
//! is elsewhere on a machine put there too: certificates, and addresses for names that only a network of nodes knows.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::child;

/// Where the configuration believes itself to be.
const ITS_PLACE: &str = "/etc/nginx/";
/// Where it writes.
const ITS_SCRATCH: &str = "/tmp/";

/// Reads everything, the block with TLS too.
pub fn check(deploy: &Path, scratch: &Path) -> Result<()> {
    let (from, to) = (deploy.join("nginx"), scratch.join("nginx"));
    for folder in ["conf.d", "tls"] {
        std::fs::create_dir_all(to.join(folder))?;
    }
    let mut copied = vec![("nginx.conf".to_owned(), "nginx.conf".to_owned())];
    copied.push(("tls.conf".to_owned(), "conf.d/tls.conf".to_owned()));
    for item in from.join("conf.d").read_dir()? {
        let name = item?.file_name().to_string_lossy().into_owned();
        copied.push((format!("conf.d/{name}"), format!("conf.d/{name}")));
    }
    for (source, target) in copied {
        let source = from.join(source);
        let text = std::fs::read_to_string(&source)
            .with_context(|| format!("cannot read {}", source.display()))?;
        std::fs::write(to.join(target), moved(&text, &to))?;
    }
    certificate(&to.join("tls"))?;
    let mut nginx = child::command("nginx");
    nginx.args(["-t", "-q", "-e", "stderr", "-p"]).arg(&to);
    let told = nginx.arg("-c").arg(to.join("nginx.conf")).output()?;
    let problems = String::from_utf8_lossy(&told.stderr).into_owned();
    // What it warns of is wrong as well.
    if !told.status.success() || !problems.trim().is_empty() {
        bail!("{}", problems.trim());
    }
    println!("      nginx takes its configuration");
    Ok(())
}

/// A file of the configuration as it is in this folder, on a machine that knows no node.
fn moved(text: &str, folder: &Path) -> String {
    let place = format!("{}/", folder.display());
    let mut text = text
        // In this order: the folder may be below the second itself.
        .replace(ITS_SCRATCH, &place)
        .replace(ITS_PLACE, &place)
        // As many as it likes is not everybody's to open.
        .replace("worker_rlimit_nofile 262144;", "")
        .replace("worker_connections 65536;", "");
    for node in 1..=3 {
        text = text.replace(&format!("kith-{node}:"), &format!("127.0.0.{node}:"));
    }
    text
}

/// One that signs itself, good for a day.
fn certificate(folder: &Path) -> Result<()> {
    let mut openssl = child::command("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
    ]);
    openssl.args(["-nodes", "-days", "1", "-subj", "/CN=chat.example.org"]);
    openssl.arg("-keyout").arg(folder.join("key.pem"));
    openssl.arg("-out").arg(folder.join("chain.pem"));
    let made = openssl.output().context("cannot start openssl")?;
    if !made.status.success() {
        bail!(
            "openssl made no certificate: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_moved_finds_what_it_includes() {
        let text = "pid /tmp/a;\ninclude /etc/nginx/conf.d/*.conf;\nserver kith-2:7700 x;\n";
        assert_eq!(
            moved(text, Path::new("/tmp/x")),
            "pid /tmp/x/a;\ninclude /tmp/x/conf.d/*.conf;\nserver 127.0.0.2:7700 x;\n"
        );
    }
}
