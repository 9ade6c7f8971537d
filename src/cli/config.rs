//! `bugle config HOST`: the effective ssh_config.

use super::failure::Failed;
use super::options::GlobalOptions;
use super::reach::Login;
use super::shown::shown;
use super::sources::Known;
use super::variables::{Mistakes, inventory_reach};
use crate::connection::algorithms;
use crate::exit_code;
use crate::selection::Address;
use crate::ssh_config::{OfferedAlgorithms, Request};
use clap::Args;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle config web01
  bugle config web01 --explain
  bugle config deploy@web01 -o Port=2222")]
pub(super) struct Arguments {
    /// The host: an inventory name, an ssh_config alias or an address, such as `deploy@web01:2222`
    #[arg(value_name = "HOST")]
    host: String,
    /// With the place that each value comes from
    #[arg(long)]
    explain: bool,
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    let known = Known::load(global)?;
    // In an inventory all of what is written may be the name.
    let (address, index) = match known.inventory.host(&arguments.host) {
        Some(index) => (None, Some(index)),
        None => {
            let address = Address::parse(&arguments.host).map_err(Failed::mistake)?;
            (Some(address), known.inventory.host(address.host))
        }
    };
    let host = address.map_or(arguments.host.as_str(), |address| address.host);
    let layers = match index {
        Some(index) => {
            let reach = inventory_reach(&known, index);
            let (mut mistakes, mut warnings) = (Mistakes::default(), Mistakes::default());
            mistakes.add(host, reach.errors);
            warnings.add(host, reach.warnings);
            if !global.quiet {
                warnings.failures(&known.inventory).into_iter().for_each(|warning| warning.warn(&mut io::stderr()));
            }
            let unusable = mistakes.failures(&known.inventory);
            if !unusable.is_empty() {
                return Err(Failed::several(unusable, usize::MAX));
            }
            reach.layers
        }
        None => Vec::new(),
    };
    let layers: Vec<Arc<_>> = layers.into_iter().map(Arc::new).collect();
    let login = Login::of(host);
    let effective = known.ssh_config.resolve(&Request {
        user: address.and_then(|address| address.user).or(login.user),
        port: address.and_then(|address| address.port).or(login.port),
        layers: &layers,
        ..Request::new(login.host)
    })?;
    let offered = OfferedAlgorithms {
        ciphers: algorithms::CIPHERS,
        macs: algorithms::MACS,
        kex: algorithms::KEX,
        host_keys: algorithms::HOST_KEYS,
        public_keys: algorithms::PUBKEYS,
        ca_signatures: algorithms::PUBKEYS,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    for line in effective.lines(&offered) {
        if arguments.explain {
            let (text, origin) = (line.to_string(), line.origin.to_string());
            writeln!(out, "{:<60} # {}", shown(&text), shown(&origin))?;
        } else {
            writeln!(out, "{}", shown(&line.to_string()))?;
        }
    }
    out.flush()?;
    Ok(exit_code::SUCCESS)
}
