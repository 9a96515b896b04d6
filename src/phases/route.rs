//! The route: where applications find who takes their writes. A hint that can be rebuilt from the two gates; it is told
//! only after the new owner is open.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::event::Event;
use crate::store::Side;

use super::owner::Ownership;
use super::session::Session;

/// The setting in both stores, in the forward link's control tables.
pub const ROUTE: &str = "route";

impl Session {
    /// The last change of owner of which applications were told; 0 where there was none.
    pub(super) async fn told_turn(&self) -> Result<u64> {
        let text = self.source.get(self.migration(), Side::Source, ROUTE).await?.unwrap_or_default();
        let route: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(route["epoch"].as_u64().unwrap_or_default())
    }

    /// `{"version":1,"default":"target","scopes":{},"epoch":1,"position":7}`; `epoch` counts the changes of owner.
    pub(super) async fn publish_route(&self, ownership: &Ownership, position: u64) -> Result<()> {
        let (m, turn) = (self.migration(), ownership.turns());
        let (rest, others) = ownership.split();
        let scopes: Map<String, Value> =
            others.into_iter().map(|scope| (scope.to_owned(), json!(rest.other().name()))).collect();
        let route = json!({
            "version": 1, "default": rest.name(), "scopes": scopes, "epoch": turn, "position": position,
        });
        let text = route.to_string();
        self.source.put(m, Side::Source, ROUTE, &text).await?;
        self.target.put(m, Side::Target, ROUTE, &text).await?;
        if let Err(e) = self.transport.publish_route(m, turn, &text).await {
            // Who reads only the bucket would stay with a store that refuses: that is loud, and mended by running again.
            let text =
                format!("the route could not be told to the broker: {e}; `{}` tells it again", self.command("apply"));
            self.reporter.event(&Event::Warning(text));
        }
        Ok(())
    }
}
