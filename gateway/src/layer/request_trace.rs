//! The span of a request, for who wants traces; its caller is the parent, and the run it starts is its child.

use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method, Response};
use axum::middleware::{Next, from_fn};
use heddle_telemetry::metrics;
use heddle_telemetry::{Component, Exporter, Kind, Span, SpanId, TraceId, TraceParent};

use super::front::TRACEPARENT;

/// A request whose span is recorded.
pub(super) struct RequestTrace {
    exporter: &'static Exporter,
    context: TraceParent,
    parent: Option<SpanId>,
    start: SystemTime,
}

impl RequestTrace {
    /// Begins the span of a request and puts it in the caller's place, so that what follows is its child. `None`, and
    /// nothing is changed, if nobody records it.
    pub(super) fn begin(headers: &mut HeaderMap) -> Option<Self> {
        let exporter = Component::Gateway.exporter()?;
        let caller = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(TraceParent::parse);
        let mut random = [0; 24];
        getrandom::fill(&mut random).ok()?;
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        trace.copy_from_slice(&random[..16]);
        span.copy_from_slice(&random[16..]);
        let trace = caller.map_or(TraceId(trace), |caller| caller.trace);
        if !exporter.samples(trace, caller) {
            return None;
        }
        let context = TraceParent { trace, span: SpanId(span), is_sampled: true };
        headers.insert(TRACEPARENT, HeaderValue::from_str(&context.to_string()).ok()?);
        Some(Self { exporter, context, parent: caller.map(|caller| caller.span), start: SystemTime::now() })
    }

    /// Hands the span over: the answer is about to leave.
    pub(super) fn tell(self, method: &Method, response: &Response<Body>) {
        let (status, route) = (response.status(), response.extensions().get::<Route>());
        let method = if is_known(method) { method.to_string() } else { "_OTHER".to_owned() };
        let mut attributes = vec![
            ("http.request.method", method.clone().into()),
            ("http.response.status_code", status.as_u16().to_string().into()),
        ];
        attributes.extend(route.map(|route| ("http.route", route.0.as_str().to_owned().into())));
        self.exporter.emit(Span {
            trace: self.context.trace,
            id: self.context.span,
            parent: self.parent,
            name: route.map_or_else(|| method.clone(), |route| format!("{method} {}", route.0.as_str())).into(),
            kind: Kind::Server,
            start: self.start,
            end: SystemTime::now(),
            attributes,
            error: status.is_server_error().then(|| status.as_u16().to_string().into()),
        });
    }
}

/// The methods of the routes; others would be names of a caller's choice.
fn is_known(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS]
        .contains(method)
}

/// Which route answered.
#[derive(Debug, Clone)]
struct Route(MatchedPath);

/// The template of the route that answered, if one did and somebody wants to know.
pub(super) fn route_of(response: &Response<Body>) -> Option<&str> {
    response.extensions().get::<Route>().map(|route| route.0.as_str())
}

/// Makes answers carry their route's template. Without traces and metrics the router stays as it is.
pub(crate) fn with_routes<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    match Component::Gateway.exporter().is_some() || metrics::is_wanted() {
        true => router.route_layer(from_fn(note_route)),
        false => router,
    }
}

async fn note_route(request: Request, next: Next) -> Response<Body> {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(Route(route));
    }
    response
}
