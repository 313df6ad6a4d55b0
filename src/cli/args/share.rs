//! What can be typed about sharing the pace.

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Share {
    /// Keep one pace with all who name this file or redis:// place
    ///
    /// A file is made, and is for the processes of one machine. redis://HOST:PORT/DB?name=NAME is for those of many
    /// (rediss:// with TLS, trusting the system's certificates or those in $SSL_CERT_FILE; the password from
    /// $PACELINE_REDIS_PASSWORD). Give all the same --rpm: if they differ, the slowest rules. Waits that the server orders
    /// are shared, too; --tpm and --workers are each process's own.
    #[arg(long, value_name = "FILE|URL", help_heading = "The pace")]
    pub(in crate::cli) share: Option<String>,
}
