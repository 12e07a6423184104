"""A graph of one node, for Aegra: aegra.json has the path of this file."""

import os

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph

_model = ChatOpenAI(
    model="bench",
    api_key="bench",
    base_url=f"http://127.0.0.1:{os.environ['BENCH_MODEL_PORT']}/v1",
    streaming=True,
)


async def _answer(state: MessagesState) -> MessagesState:
    return {"messages": [await _model.ainvoke(state["messages"])]}


_builder = StateGraph(MessagesState)
_builder.add_node("answer", _answer)
_builder.add_edge(START, "answer")
_builder.add_edge("answer", END)
graph = _builder.compile()
