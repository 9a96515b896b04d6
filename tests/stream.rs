//! The transport's contract: one body for the direct carrier and for NATS JetStream, 2.9 and current; then what only a
//! broker can do to us: lose, forget, refuse, die.

mod support;

#[path = "stream/broker.rs"]
mod broker;
#[path = "stream/contract.rs"]
mod contract;
#[path = "stream/credentials.rs"]
mod credentials;
#[path = "stream/rig.rs"]
mod rig;
#[path = "stream/room.rs"]
mod room;

/// One test per body and carrier: `on!(module, Carrier…: body, …)`.
macro_rules! on {
    ($module:ident, $carrier:expr, $bodies:ident: $($body:ident),* $(,)?) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $body() {
                    let body = crate::$bodies::$body(crate::rig::Rig::new($carrier));
                    tokio::time::timeout(std::time::Duration::from_secs(120), body).await.expect("it hangs");
                }
            )*
        }
    };
}

macro_rules! contract {
    ($module:ident, $carrier:expr) => {
        on!($module, $carrier, contract:
            entries_arrive_in_order,
            entries_of_any_size_arrive_whole,
            an_announcement_fences_the_sender_before,
            a_sender_must_announce,
            reports_are_the_latest,
            waiting_loses_nothing,
            a_removed_link_begins_again,
        );
    };
}

macro_rules! brokers {
    ($carrier:expr) => {
        on!(broker, $carrier, broker:
            a_missing_stream_is_waited_for,
            a_deleted_stream_is_doubt_and_begins_again,
            a_wiped_broker_is_doubt_and_begins_again,
            a_purged_stream_goes_on,
            a_rewound_stream_is_read_from_its_beginning,
            a_killed_broker_loses_no_order,
            a_hung_broker_is_doubt,
            a_foreign_message_is_doubt_and_never_arrives,
            a_zombie_is_refused,
            parts_of_two_relays_never_mix,
            nothing_is_deduplicated,
            an_idle_receiver_wakes,
            a_broker_killed_when_all_was_purged_goes_on,
            the_payload_limit_is_obeyed,
        );
        on!(room, $carrier, room:
            any_amount_passes_a_bounded_stream,
            a_full_stream_keeps_order_and_waits,
            an_entry_larger_than_the_stream_is_refused,
            a_full_stream_is_taken_over,
            a_backlog_is_not_sent_behind_another_history,
            the_limit_is_adjusted,
        );
        on!(credentials, $carrier, credentials:
            wrong_user_or_password,
            wrong_token,
            nkeys,
            credentials_files,
            encryption,
            unreachable_or_without_jetstream,
            limits_are_probed,
        );
    };
}

macro_rules! throughput {
    ($name:ident, $carrier:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "prints speed"]
        async fn $name() {
            crate::room::throughput(crate::rig::Rig::new($carrier)).await;
        }
    };
}

throughput!(throughput_direct, crate::rig::Carrier::Direct);
throughput!(throughput_debian, crate::rig::Carrier::Nats(support::NatsVersion::Debian));
throughput!(throughput_current, crate::rig::Carrier::Nats(support::NatsVersion::Current));

contract!(direct, crate::rig::Carrier::Direct);

mod nats_debian {

    contract!(contract, crate::rig::Carrier::Nats(crate::support::NatsVersion::Debian));
    brokers!(crate::rig::Carrier::Nats(crate::support::NatsVersion::Debian));
}

mod nats_current {
    contract!(contract, crate::rig::Carrier::Nats(crate::support::NatsVersion::Current));
    brokers!(crate::rig::Carrier::Nats(crate::support::NatsVersion::Current));
}
