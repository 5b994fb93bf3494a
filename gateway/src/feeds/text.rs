//! Events as the text that clients read, in the form of the WHATWG standard.

use heddle_proto::control::{Event, EventPage};
use heddle_proto::stream_place::StreamPlace;

use super::Followed;
use super::kept::Page;
use crate::convert::{self, unreadable};
use crate::http::error::ApiError;

/// A page as text, without what a reader at `after` has had. Whether all of it could be written.
pub(super) fn page(page: &EventPage, followed: &Followed, mut after: StreamPlace) -> (Page, bool) {
    let (mut text, mut events) = (Vec::new(), Vec::new());
    let mut is_whole = true;
    for event in &page.events {
        let place = event.place.parse::<StreamPlace>();
        // A node's result may have come before the place behind which it is told, and mutes the node there.
        let is_told_late = place.is_ok_and(|place| place.seq >= after.seq && place.muted > after.muted);
        if !is_live(event) && event.seq <= after.seq && !(followed.node.is_some() && is_told_late) {
            continue;
        }
        // A coordinator of an older build names no places.
        let behind = place.unwrap_or_else(|_| StreamPlace { seq: event.seq.max(after.seq), ..after });
        let written = text.len();
        if write(&mut text, event, followed, behind).is_err() {
            text.truncate(written);
            is_whole = false;
            break;
        }
        after = behind;
        events.push((behind, text.len()));
    }
    (Page { text: text.into(), events }, is_whole)
}

fn write(out: &mut Vec<u8>, event: &Event, followed: &Followed, behind: StreamPlace) -> Result<(), ApiError> {
    if event.r#type.contains(['\n', '\r']) {
        return Err(unreadable("type of an event"));
    }
    // Unless it asks for more, a client knows places in the history alone.
    match followed.has_all_ids {
        true => out.extend_from_slice(format!("id: {behind}\n").as_bytes()),
        false if is_live(event) => {}
        false => out.extend_from_slice(format!("id: {}\n", event.seq).as_bytes()),
    }
    out.extend_from_slice(format!("event: {}\n", event.r#type).as_bytes());
    let mut json = Vec::with_capacity(event.data_json.len() + 128);
    convert::event::write(&mut json, event, &followed.execution_id)?;
    // White space inside the JSON may break lines; each line is a field of its own.
    for line in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    Ok(())
}

/// Whether it is a word of an attempt at work, and in no history.
fn is_live(event: &Event) -> bool {
    event.seq == 0
}
