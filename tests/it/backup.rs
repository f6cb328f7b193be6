//! `backup`: is everything stored, and is the home left as it was?

use insta::assert_snapshot;

use crate::home::TestHome;

fn ada() -> TestHome {
    TestHome::at("2026-11-21T10:00:00Z")
        .signed_in("ada@example.com")
        .session("ada@example.com", (12.0, "+2h"), (40.0, "2026-11-26T10:02:00+01:00"))
        .database("state_5.sqlite")
        .file(".codex/config.toml", "model = \"gpt-5\"\n")
}

#[test]
fn a_backup_is_an_archive_and_a_sidecar_named_after_the_week() {
    let home = ada();
    assert_snapshot!(home.run("backup"), @"
    $ codex-manager backup
    stored   2026-11-19-100200-ada@example.com-codex
    content  5 files, 15 KiB packed into 3.5 KiB
    quota    60% left, week resets Thu 26 Nov 10:02 (rollout)
    archive  ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ");
    assert_snapshot!(home.files(), @"
    backups/2026-11-19-100200-ada@example.com-codex.metadata.json
    backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ledger.jsonl
    lock
    tmp/
    trash/
    undo/
    ");
}
