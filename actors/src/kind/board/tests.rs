use enfilade_proto::board::{Bounds, Clear, Color, Points as _, Text, Width};
