//! `heddle tenants`: who shares the cluster without seeing each other.

use clap::{Args, Subcommand};

use crate::client::Tenant;
use crate::connection::Connection;
use crate::error::Result;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{note, print, print_json};

/// Make, list, rename and close tenants (for keys with the scope operate)
#[derive(Debug, Args)]
pub struct Tenants {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a tenant; `heddle keys create --tenant ID` makes its first key
    Create {
        /// Lower-case letters, digits and hyphens
        id: String,
        /// For people [default: the id]
        #[arg(long)]
        name: Option<String>,
    },
    /// List all tenants
    List,
    /// Show one tenant
    Get {
        /// The tenant's id
        id: String,
    },
    /// Give a tenant another name
    Rename {
        /// The tenant's id
        id: String,
        /// Its new name
        name: String,
    },
    /// Stop all keys of a tenant within a second; what it has stays
    Close {
        /// The tenant's id
        id: String,
    },
    /// Let the keys of a closed tenant work again
    Open {
        /// The tenant's id
        id: String,
    },
}

impl Tenants {
    /// Runs the verb.
    pub async fn run(self) -> Result<()> {
        let client = self.connection.client().await?;
        let tenant = match self.verb {
            Verb::List => return list(&client.tenants().await?, self.json),
            Verb::Create { id, name } => {
                let made = client.create_tenant(&id, name.as_deref()).await?;
                if !self.json {
                    note("make its first key with `heddle keys create --tenant ID --scope admin`");
                }
                made
            }
            Verb::Get { id } => client.tenant(&id).await?,
            Verb::Rename { id, name } => client.change_tenant(&id, Some(&name), None).await?,
            Verb::Close { id } => client.change_tenant(&id, None, Some(true)).await?,
            Verb::Open { id } => client.change_tenant(&id, None, Some(false)).await?,
        };
        if self.json { print_json(&tenant) } else { list(&[tenant], false) }
    }
}

fn list(tenants: &[Tenant], as_json: bool) -> Result<()> {
    if as_json {
        return print_json(&tenants);
    }
    let mut table = Table::new(&["ID", "STATUS", "NAME", "CREATED"]);
    for tenant in tenants {
        let status = if tenant.closed_at.is_some() { "closed" } else { "open" };
        table.row(vec![tenant.id.clone(), status.into(), tenant.name.clone(), tenant.created_at.clone()]);
    }
    print(&table.render(Style::stdout()))
}
