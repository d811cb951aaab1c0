//! A certificate authority for the length of a run, and a server's certificate for this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What Debian trusts, and Amazon Linux by another name.
const SYSTEM_BUNDLES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// The server's side of it, and the authority to be trusted.
pub(super) struct Identity {
    pub(super) server: Arc<ServerConfig>,
    authority: String,
}

impl Identity {
    pub(super) fn make() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        // Some clients take a certificate for its own issuer where the two have one name.
        params.distinguished_name.push(DnType::CommonName, "authority of a measurement");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        let certificate = params.signed_by(&key, &authority)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .context("the certificate does not fit its key")?;
        Ok(Self { server: Arc::new(server), authority: authority.pem() })
    }

    /// Writes the authority's certificate alone, and after all that the system trusts, as a client of AWS has to read it.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
        std::fs::create_dir_all(folder)?;
        let (authority, bundle) = (folder.join("authority.pem"), folder.join("bundle.pem"));
        let system = SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        std::fs::write(&authority, &self.authority)?;
        std::fs::write(&bundle, format!("{system}\n{}", self.authority))?;
        Ok((authority, bundle))
    }
}
