//! A DNS server of the test's own, which says something else each time it is asked.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// What it answers, one after the other, and the last for ever.
pub(crate) type Turns = Vec<Vec<RData>>;

/// The server.
pub(crate) struct Names {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<HashMap<(String, RecordType), usize>>>,
}

impl Names {
    /// Starts one that knows these names, each with its addresses of both families. Nothing may be kept (TTL 0).
    pub(crate) fn start(known: HashMap<String, Turns>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<HashMap<_, usize>>> = Arc::default();
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
                let answer = answer(question, &known, &mut counted.lock().unwrap());
                // Who asks and goes away asks again.
                let _sent = socket.send_to(&answer.to_vec().unwrap(), from);
            }
        });
        Self { address, asked }
    }

    /// How often it was asked for this.
    pub(crate) fn asked(&self, name: &str, kind: RecordType) -> usize {
        self.asked.lock().unwrap().get(&(name.to_owned(), kind)).copied().unwrap_or_default()
    }
}

/// An address as an answer.
pub(crate) fn at(address: &str) -> RData {
    match address.parse().unwrap() {
        IpAddr::V4(address) => RData::A(address.into()),
        IpAddr::V6(address) => RData::AAAA(address.into()),
    }
}

/// Another name as an answer.
pub(crate) fn alias(name: &str) -> RData {
    RData::CNAME(CNAME(Name::from_ascii(format!("{name}.")).unwrap()))
}

fn answer(
    question: Message,
    known: &HashMap<String, Turns>,
    asked: &mut HashMap<(String, RecordType), usize>,
) -> Message {
    let mut answer = question.into_response();
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_available = true;
    answer.additionals.clear();
    let Some(query) = answer.queries.first().cloned() else { return answer };
    let (kind, mut owner) = (query.query_type(), query.name().clone());
    // A chain of aliases is followed in the same answer.
    loop {
        let name = owner.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let Some(turns) = known.get(&name) else {
            answer.metadata.response_code = ResponseCode::NXDomain;
            return answer;
        };
        let turn = asked.entry((name, kind)).or_default();
        let fits = |data: &&RData| [kind, RecordType::CNAME].contains(&data.record_type());
        let said: Vec<&RData> = turns[(*turn).min(turns.len() - 1)].iter().filter(fits).collect();
        *turn += 1;
        answer.add_answers(said.iter().map(|data| Record::from_rdata(owner.clone(), 0, (*data).clone())));
        match said.first() {
            Some(RData::CNAME(next)) => owner = next.0.clone(),
            _ => return answer,
        }
    }
}
