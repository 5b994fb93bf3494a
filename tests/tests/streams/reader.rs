//! A client of event streams that can be cut off anywhere, and goes on where it was.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_tests::cluster::client::Client;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;

pub(crate) const READ_TIME_MAX: Duration = Duration::from_secs(90);

/// One event as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) id: Option<String>,
    pub(crate) kind: String,
    pub(crate) data: Value,
    /// The bytes of its data.
    pub(crate) text: String,
}

/// An open stream.
pub(crate) struct Reader {
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    held: String,
    /// Everything that came, comments too.
    pub(crate) raw: String,
}

impl Reader {
    /// Opens a stream of `path`, behind an id if there is one.
    pub(crate) async fn open(client: &Client, path: &str, last_event_id: Option<&str>) -> Self {
        let answer = request(client, path, last_event_id).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path} behind {last_event_id:?}");
        Self { body: answer.bytes_stream().boxed(), held: String::new(), raw: String::new() }
    }

    /// The next event; nothing when the stream ends or breaks.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((block, rest)) = self.held.split_once("\n\n") {
                let heard = parse(block);
                self.held = rest.to_owned();
                match heard {
                    Some(heard) => return Some(heard),
                    None => continue,
                }
            }
            let piece = timeout(READ_TIME_MAX, self.body.next()).await.expect("nothing came for long");
            let text = String::from_utf8(piece?.ok()?.to_vec()).unwrap();
            self.held.push_str(&text);
            self.raw.push_str(&text);
        }
    }

    /// Events up to the first for which this holds.
    pub(crate) async fn until(&mut self, is_last: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let mut all = Vec::new();
        while let Some(heard) = self.next().await {
            let is_over = is_last(&heard);
            all.push(heard);
            if is_over {
                break;
            }
        }
        all
    }

    /// Everything to the stream's end, which it says.
    pub(crate) async fn read_to_end(&mut self) -> Vec<Heard> {
        let mut all = self.until(|heard| heard.kind == "stream.end").await;
        assert_eq!(all.pop().map(|heard| heard.kind), Some("stream.end".to_owned()), "{all:?}");
        all
    }
}

fn request(client: &Client, path: &str, last_event_id: Option<&str>) -> reqwest::RequestBuilder {
    let request = client.request(Method::GET, path).header("accept", "text/event-stream").timeout(READ_TIME_MAX);
    last_event_id.into_iter().fold(request, |request, id| request.header("last-event-id", id))
}

fn parse(block: &str) -> Option<Heard> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let text: String = block.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    Some(Heard { id: field("id: "), kind: field("event: ")?, data: serde_json::from_str(&text).unwrap(), text })
}

/// The id of the last event that had one.
pub(crate) fn last_id(heard: &[Heard]) -> Option<String> {
    heard.iter().rev().find_map(|heard| heard.id.clone())
}

/// Reads a stream to its end in many pieces: after `count` events the connection is thrown away, and the next goes on behind
/// the last id.
pub(crate) async fn in_pieces(client: &Client, path: &str, count: usize) -> Vec<Heard> {
    let (mut all, mut id) = (Vec::new(), None);
    loop {
        let mut reader = Reader::open(client, path, id.as_deref()).await;
        for _ in 0..count {
            match reader.next().await {
                Some(heard) if heard.kind == "stream.end" => return all,
                Some(heard) => all.push(heard),
                None => break,
            }
        }
        id = last_id(&all);
    }
}

/// The history in it: each seq once and in order, from 1 or from behind the place where the reader began.
pub(crate) fn history(heard: &[Heard]) -> Vec<&str> {
    let of = |heard: &Heard| heard.data["seq"].as_u64();
    let seqs: Vec<u64> = heard.iter().filter_map(of).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap or a double in the history: {seqs:?}");
    heard.iter().filter(|heard| of(heard).is_some()).map(|heard| heard.text.as_str()).collect()
}

/// What was heard of one node's pieces.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Pieces {
    /// The text of each attempt.
    pub(crate) texts: BTreeMap<u64, String>,
    /// The gaps that were told: attempt, from, to.
    pub(crate) gaps: Vec<(u64, u64, u64)>,
}

/// The pieces of a node: none twice, none missing but for what a gap names, none behind the node's result, and the gaps.
pub(crate) fn pieces(heard: &[Heard], node: &str) -> Pieces {
    let (mut pieces, mut next, mut is_over) = (Pieces::default(), BTreeMap::<u64, u64>::new(), false);
    for heard in heard.iter().filter(|heard| heard.data["nodeId"] == node) {
        let number = |name: &str| heard.data[name].as_u64();
        match heard.kind.as_str() {
            "node.gap" => {
                let (attempt, from, to) = (number("attempt").unwrap(), number("from").unwrap(), number("to").unwrap());
                let next = next.entry(attempt).or_default();
                assert!(from <= *next && to >= *next, "a gap that is none, at {next}: {heard:?}");
                pieces.gaps.push((attempt, *next, to));
                *next = to + 1;
            }
            "node.delta" => {
                assert!(!is_over, "a piece behind the result: {heard:?}");
                let attempt = number("attempt").unwrap();
                let next = next.entry(attempt).or_default();
                assert_eq!(number("from"), Some(*next), "a gap or a double: {heard:?}");
                *next = number("to").unwrap() + 1;
                pieces.texts.entry(attempt).or_default().push_str(heard.data["text"].as_str().unwrap());
            }
            "node.completed" => is_over = true,
            _ => {}
        }
    }
    assert!(is_over, "no result of {node}");
    pieces
}
