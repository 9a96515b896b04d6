//! The checked-in Chinook plans against the shapes that its authors chose for both engines.

use crate::plan::testing::*;
use crate::plan::{load, resolve};
use crate::schema::EngineName::{self, Postgres, Sqlite};
use crate::schema::Table;

/// Name, columns, primary key, parents.
type Shape = (&'static str, &'static str, &'static str, &'static str);

const LITE: [Shape; 11] = [
    ("Album", "AlbumId bigint!;Title text(160)!;ArtistId bigint!", "AlbumId", "Artist"),
    ("Artist", "ArtistId bigint!;Name text(120)", "ArtistId", ""),
    (
        "Customer",
        "CustomerId bigint!;FirstName text(40)!;LastName text(20)!;Company text(80);Address text(70);City text(40);State text(40);Country text(40);PostalCode text(10);Phone text(24);Fax text(24);Email text(60)!;SupportRepId bigint",
        "CustomerId",
        "Employee",
    ),
    (
        "Employee",
        "EmployeeId bigint!;LastName text(20)!;FirstName text(20)!;Title text(30);ReportsTo bigint;BirthDate timestamp;HireDate timestamp;Address text(70);City text(40);State text(40);Country text(40);PostalCode text(10);Phone text(24);Fax text(24);Email text(60)",
        "EmployeeId",
        "Employee",
    ),
    ("Genre", "GenreId bigint!;Name text(120)", "GenreId", ""),
    (
        "Invoice",
        "InvoiceId bigint!;CustomerId bigint!;InvoiceDate timestamp!;BillingAddress text(70);BillingCity text(40);BillingState text(40);BillingCountry text(40);BillingPostalCode text(10);Total decimal(10,2)!",
        "InvoiceId",
        "Customer",
    ),
    (
        "InvoiceLine",
        "InvoiceLineId bigint!;InvoiceId bigint!;TrackId bigint!;UnitPrice decimal(10,2)!;Quantity bigint!",
        "InvoiceLineId",
        "Invoice Track",
    ),
    ("MediaType", "MediaTypeId bigint!;Name text(120)", "MediaTypeId", ""),
    ("Playlist", "PlaylistId bigint!;Name text(120)", "PlaylistId", ""),
    ("PlaylistTrack", "PlaylistId bigint!;TrackId bigint!", "PlaylistId TrackId", "Playlist Track"),
    (
        "Track",
        "TrackId bigint!;Name text(200)!;AlbumId bigint;MediaTypeId bigint!;GenreId bigint;Composer text(220);Milliseconds bigint!;Bytes bigint;UnitPrice decimal(10,2)!",
        "TrackId",
        "Album Genre MediaType",
    ),
];

const POSTGRES: [Shape; 11] = [
    ("album", "album_id int!;title text(160)!;artist_id int!", "album_id", "artist"),
    ("artist", "artist_id int!;name text(120)", "artist_id", ""),
    (
        "customer",
        "customer_id int!;first_name text(40)!;last_name text(20)!;company text(80);address text(70);city text(40);state text(40);country text(40);postal_code text(10);phone text(24);fax text(24);email text(60)!;support_rep_id int",
        "customer_id",
        "employee",
    ),
    (
        "employee",
        "employee_id int!;last_name text(20)!;first_name text(20)!;title text(30);reports_to int;birth_date timestamp;hire_date timestamp;address text(70);city text(40);state text(40);country text(40);postal_code text(10);phone text(24);fax text(24);email text(60)",
        "employee_id",
        "employee",
    ),
    ("genre", "genre_id int!;name text(120)", "genre_id", ""),
    (
        "invoice",
        "invoice_id int!;customer_id int!;invoice_date timestamp!;billing_address text(70);billing_city text(40);billing_state text(40);billing_country text(40);billing_postal_code text(10);total decimal(10,2)!",
        "invoice_id",
        "customer",
    ),
    (
        "invoice_line",
        "invoice_line_id int!;invoice_id int!;track_id int!;unit_price decimal(10,2)!;quantity int!",
        "invoice_line_id",
        "invoice track",
    ),
    ("media_type", "media_type_id int!;name text(120)", "media_type_id", ""),
    ("playlist", "playlist_id int!;name text(120)", "playlist_id", ""),
    ("playlist_track", "playlist_id int!;track_id int!", "playlist_id track_id", "playlist track"),
    (
        "track",
        "track_id int!;name text(200)!;album_id int;media_type_id int!;genre_id int;composer text(220);milliseconds int!;bytes int;unit_price decimal(10,2)!",
        "track_id",
        "album genre media_type",
    ),
];

fn tables(engine: EngineName, shapes: &[Shape]) -> Vec<Table> {
    let make = |(name, columns, key, parents): &Shape| {
        let keyed = table(engine, name, columns).keyed(&key.split(' ').collect::<Vec<_>>());
        parents.split_whitespace().fold(keyed, |table, parent| table.child_of(engine, parent))
    };
    shapes.iter().map(make).collect()
}

fn plan_named(name: &str) -> crate::plan::Plan {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plans").join(name);
    load(&path, &env).unwrap_or_else(|problems| panic!("{}", show(&problems)))
}

#[test]
fn sqlites_shape_goes_into_postgresqls_without_a_loss() {
    let facts = facts((Sqlite, tables(Sqlite, &LITE)), (Postgres, tables(Postgres, &POSTGRES)));
    let resolved = resolve(&plan_named("chinook-sqlite-to-postgres.yaml"), &facts)
        .unwrap_or_else(|problems| panic!("{}", show(&problems)));
    assert_eq!((resolved.layout.tables.len(), resolved.create.len()), (11, 0));
    assert!(resolved.warnings.is_empty() && resolved.layout.tables.iter().all(|t| t.ordered_alike));
    assert_eq!(resolved.cycles.len(), 1, "employee alone refers to itself");
    let place = |name: &str| resolved.layout.tables.iter().position(|t| t.target.name == name).unwrap();
    for (child, _, _, parents) in POSTGRES {
        assert!(parents.split_whitespace().all(|parent| place(parent) <= place(child)), "{child}");
    }
}

#[test]
fn postgresqls_shape_is_made_anew() {
    let facts = facts((Postgres, tables(Postgres, &POSTGRES)), (Postgres, vec![]));
    let resolved = resolve(&plan_named("chinook-postgres-to-postgres.yaml"), &facts)
        .unwrap_or_else(|problems| panic!("{}", show(&problems)));
    assert_eq!((resolved.layout.tables.len(), resolved.create.len()), (11, 11));
    let made = resolved.create.iter().find(|t| t.name.name == "playlist_track").unwrap();
    assert_eq!(made.primary_key, ["playlist_id", "track_id"]);
}
