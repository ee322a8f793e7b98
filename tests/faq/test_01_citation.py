"""How should I cite Keras? README.md has the entries, of kfacade and of Keras."""
import pathlib
import re

import faq_harness as faq

ROOT = pathlib.Path(__file__).parents[2]
CITING = (ROOT / 'README.md').read_text(encoding='utf-8').partition('\n## Citing\n')[2].partition('\n## ')[0]


def entries(text):
    """{key: (type, {field: value})} of the BibTeX entries in `text`, whose fields take a line each."""
    found = {}
    for kind, key, body in re.findall(r'^\s*@(\w+)\{(\w+),\n(.*?)^\s*\}$', text, re.S | re.M):
        fields = re.findall(r'^\s*(\w+) = \{(.*)\},?$', body, re.M)
        assert len(fields) == len(body.strip().splitlines())
        assert all(value.count('{') == value.count('}') for _, value in fields)
        found[key] = kind, dict(fields)
    return found


def test_the_entry_of_kfacade():
    kind, fields = entries(CITING)['kfacade']
    assert kind == 'misc' and fields['title'].startswith('{kfacade}')
    assert f'version = "{fields["version"]}"' in (ROOT / 'pyproject.toml').read_text().splitlines()
    assert {'author', 'title', 'year', 'howpublished'} <= fields.keys()
    assert re.fullmatch(r'20\d\d', fields['year'])


def test_the_entry_of_keras_is_the_page_s():
    page, = faq.blocks('citation')
    wanted = entries(page)
    assert wanted['chollet2015keras'][1]['howpublished'] == r'\url{https://github.com/fchollet/keras}'
    ours = entries(CITING)
    assert ours['chollet2015keras'] == wanted['chollet2015keras']
