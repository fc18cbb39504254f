"""A Protobuf file with messages of every kind of field, built without a compiler."""

from __future__ import annotations

from google.protobuf import timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MessageOptions,
    OneofDescriptorProto,
)

__all__ = ["SHOP", "file_set"]

F = FieldDescriptorProto
_KINDS = {
    "int64": F.TYPE_INT64,
    "sint32": F.TYPE_SINT32,
    "uint64": F.TYPE_UINT64,
    "double": F.TYPE_DOUBLE,
    "bool": F.TYPE_BOOL,
    "string": F.TYPE_STRING,
    "bytes": F.TYPE_BYTES,
}


def field(number: int, name: str, kind: str, *, repeated: bool = False, oneof: int | None = None) -> F:
    """Return a field; a kind with a dot is a message, or an enum if it ends in State."""
    made = F(name=name, number=number, label=F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL)
    if "." in kind:
        made.type = F.TYPE_ENUM if kind.endswith("State") else F.TYPE_MESSAGE
        made.type_name = kind
    else:
        made.type = _KINDS[kind]
    if oneof is not None:
        made.oneof_index = oneof
        made.proto3_optional = name == "note"
    return made


ENTRY = DescriptorProto(
    name="CountsEntry",
    field=[field(1, "key", "string"), field(2, "value", "int64")],
    options=MessageOptions(map_entry=True),
)
ORDER = DescriptorProto(
    name="Order",
    field=[
        field(1, "id", "int64"),
        field(2, "name", "string"),
        field(3, "note", "string", oneof=1),
        field(4, "amount", "double"),
        field(5, "at", ".google.protobuf.Timestamp"),
        field(6, "state", ".shop.State"),
        field(7, "tags", "string", repeated=True),
        field(8, "counts", ".shop.Order.CountsEntry", repeated=True),
        field(9, "lines", ".shop.Order.Line", repeated=True),
        field(10, "first", ".shop.Order.Line"),
        field(11, "raw", "bytes"),
        field(12, "big", "uint64"),
        field(13, "delta", "sint32"),
        field(14, "maybe", ".google.protobuf.Int64Value"),
        field(15, "card", "string", oneof=0),
        field(16, "cash", "int64", oneof=0),
        field(17, "paid", "bool"),
    ],
    oneof_decl=[OneofDescriptorProto(name="by"), OneofDescriptorProto(name="_note")],
    nested_type=[ENTRY, DescriptorProto(name="Line", field=[field(1, "sku", "string"), field(2, "count", "int64")])],
)
STATES = EnumDescriptorProto(
    name="State",
    value=[EnumValueDescriptorProto(name=name, number=number) for number, name in enumerate(["NEW", "SENT"])],
)
SHOP = FileDescriptorProto(
    name="shop.proto",
    package="shop",
    syntax="proto3",
    dependency=["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"],
    message_type=[DescriptorProto(name="Other", field=[field(1, "x", "int64")]), ORDER],
    enum_type=[STATES],
)


def file_set(*files: FileDescriptorProto) -> bytes:
    """Return what the compiler would write for these files and all that they import."""
    built_in = [timestamp_pb2.DESCRIPTOR.serialized_pb, wrappers_pb2.DESCRIPTOR.serialized_pb]
    # Importers come first: whoever reads the set has to put it in order.
    return FileDescriptorSet(file=[*files, *map(FileDescriptorProto.FromString, built_in)]).SerializeToString()
